//! A window of the week: `Mon..Fri 02:00-04:00`, `Sat,Sun 22:00-06:00`, `03:30-04:00`.
//!
//! The days are those of systemd.time(7) by their English names; a window that ends before it begins goes on into the next
//! morning, and belongs to the day on which it began. Times are local ones.

use std::fmt;
use std::str::FromStr;

use jiff::Zoned;

/// When something may happen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    /// Whether each day of the week, Monday first, has one.
    days: [bool; 7],
    /// Minutes since midnight.
    begin: u16,
    /// Minutes since midnight; not part of it.
    end: u16,
    text: String,
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

impl Window {
    /// Whether the moment lies in it.
    #[must_use]
    pub fn contains(&self, moment: &Zoned) -> bool {
        let today = usize::try_from(moment.weekday().to_monday_zero_offset()).unwrap_or_default();
        let minute = u16::try_from(i32::from(moment.hour()) * 60 + i32::from(moment.minute()))
            .unwrap_or_default();
        let yesterday = (today + 6) % 7;
        if self.begin < self.end {
            return self.days[today] && (self.begin..self.end).contains(&minute);
        }
        self.days[today] && minute >= self.begin || self.days[yesterday] && minute < self.end
    }
}

impl FromStr for Window {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, times) = match words[..] {
            [times] => ([true; 7], times),
            [names, times] => (days(names)?, times),
            _ => return Err(()),
        };
        let (begin, end) = times.split_once('-').ok_or(())?;
        let (begin, end) = (minute(begin)?, minute(end)?);
        if begin == end || begin >= 24 * 60 {
            return Err(());
        }
        Ok(Self {
            days,
            begin,
            end,
            text: text.to_owned(),
        })
    }
}

fn days(names: &str) -> Result<[bool; 7], ()> {
    let day = |name: &str| {
        let known = DAYS.iter().position(|day| day.eq_ignore_ascii_case(name));
        known.ok_or(())
    };
    let mut days = [false; 7];
    for part in names.split(',') {
        let (first, last) = match part.split_once("..") {
            Some((first, last)) => (day(first)?, day(last)?),
            None => (day(part)?, day(part)?),
        };
        let mut current = first;
        days[current] = true;
        // `Sat..Mon` goes over the end of the week.
        while current != last {
            current = (current + 1) % 7;
            days[current] = true;
        }
    }
    Ok(days)
}

/// `HH:MM`; `24:00` is the end of a day.
fn minute(text: &str) -> Result<u16, ()> {
    let (hour, minute) = text.split_once(':').ok_or(())?;
    let number = |text: &str| -> Result<u16, ()> {
        if text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().map_err(|_| ())
        } else {
            Err(())
        }
    };
    let (hour, minute) = (number(hour)?, number(minute)?);
    if minute < 60 && (hour < 24 || (hour, minute) == (24, 0)) {
        Ok(hour * 60 + minute)
    } else {
        Err(())
    }
}

impl fmt::Display for Window {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_open_when_it_says_so() {
        // 2026-11-25 is a Wednesday.
        for (window, moment, open) in [
            ("Mon..Fri 02:00-04:00", "2026-11-25T02:00", true),
            ("Mon..Fri 02:00-04:00", "2026-11-25T03:59", true),
            ("Mon..Fri 02:00-04:00", "2026-11-25T04:00", false),
            ("Mon..Fri 02:00-04:00", "2026-11-28T03:00", false),
            ("Sat..Mon 02:00-04:00", "2026-11-30T03:00", true),
            ("sat,wed 02:00-24:00", "2026-11-25T23:59", true),
            ("Tue 22:00-06:00", "2026-11-25T05:59", true),
            ("Tue 22:00-06:00", "2026-11-25T23:00", false),
            ("Wed 22:00-06:00", "2026-11-25T05:59", false),
            ("22:00-06:00", "2026-11-25T23:00", true),
        ] {
            let parsed: Window = window.parse().expect(window);
            let moment: Zoned = format!("{moment}:00[UTC]").parse().expect(moment);
            assert_eq!(parsed.contains(&moment), open, "{window} {moment}");
            assert_eq!(parsed.to_string(), window);
        }
        for bad in [
            "",
            "Mon",
            "Mon 2:00-4:00",
            "Mon 02:00",
            "02:00-02:00",
            "02:60-03:00",
            "24:00-03:00",
            "25:00-26:00",
            "Moon 02:00-03:00",
            "Mon.. 02:00-03:00",
            "Mon Tue 02:00-03:00",
        ] {
            assert_eq!(bad.parse::<Window>(), Err(()), "{bad}");
        }
    }
}

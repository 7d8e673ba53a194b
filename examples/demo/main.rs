//! An update from end to end: no root, no systemd, nothing from outside.
//!
//! A bakery is opened on loopback, a temporary directory plays the host (`--root=`), and the real command line keeps the
//! extension `hello` current in it. Everything told is checked; the exit status is 0 only when all of it was so.
//!
//!     cargo run --release --example demo

mod bakery;
mod image;
mod stage;

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use sysupdate::host::{Host, TemporaryDirectories};
use sysupdate::root::Root;

use bakery::Bakery;
use stage::Stage;

fn main() -> ExitCode {
    // The stage calls this program by that name when it wants the other one: each run is a process of its own.
    if std::env::args_os()
        .next()
        .is_some_and(|name| name == stage::PROGRAM)
    {
        return sysupdate::cli::run(std::env::args_os());
    }
    match show() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // There is nobody to tell when that fails.
            let _ = writeln!(std::io::stderr(), "\ndemo: FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::Builder::new()
        .prefix("sysupdate-demo-")
        .tempdir()?;
    let mut demo = Demo::new(directory.path())?;
    stage::line(
        "sysupdate keeps an extension image current: from its definition to the switched symlink.",
    )?;
    stage::line(&format!(
        "ROOT={}  plays the host; nothing outside of it is touched.",
        directory.path().display()
    ))?;
    demo.installs_the_first_version()?;
    demo.moves_to_the_next_version()?;
    demo.asks_cheaply_and_distrusts()?;
    demo.refuses_a_tampered_image()?;
    demo.goes_on_by_itself()?;
    demo.explains_itself()?;
    directory.close()?;
    Ok(())
}

struct Demo {
    stage: Stage,
    bakery: Bakery,
    architecture: String,
}

impl Demo {
    fn new(root: &Path) -> Result<Self, Box<dyn Error>> {
        let host = Host::read(&Root::host(), TemporaryDirectories::default());
        let architecture = host
            .architecture
            .ok_or("systemd has no name for the architecture of this machine")?;
        Ok(Self {
            stage: Stage::new(root)?,
            bakery: Bakery::open()?,
            architecture,
        })
    }

    fn installs_the_first_version(&mut self) -> Result<(), Box<dyn Error>> {
        self.stage.headline(
            "A bakery offers hello 1.0.0, and one file defines what this host wants of it",
        )?;
        let first = self.publish("1.0.0")?;
        let definition = format!(
            "[transfer]\nverify = \"none\"  # this bakery signs nothing\n\n[source]\nurl = \"{}/hello\"\n",
            self.bakery.url()
        );
        let path = self.stage.inside("/etc/sysupdate/transfer.d/hello.toml");
        fs::create_dir_all(path.parent().unwrap_or(&path))?;
        fs::File::create(&path)?.write_all(definition.as_bytes())?;
        stage::quote(&format!(
            "# /etc/sysupdate/transfer.d/hello.toml\n{definition}"
        ))?;
        let list = self.stage.run(&["-C", "hello", "list"])?;
        self.stage
            .check_exit(&list, 0, "the manifest was fetched and resolved")?;
        self.stage.check(
            "1.0.0 is the candidate",
            has_row(&list.stdout, "1.0.0", "candidate"),
        )?;

        self.stage.headline("The first update")?;
        let update = self.stage.run(&["-C", "hello", "update"])?;
        self.stage.check_exit(&update, 0, "installed")?;
        self.show_tree()?;
        self.check_current("1.0.0", &first)?;
        let release = image::read(fs::read(self.stage.inside(LINK))?, image::RELEASE)?;
        let fits = release
            .is_some_and(|text| text.contains(&format!("ARCHITECTURE={}\n", self.architecture)));
        self.stage.check(
            "the link leads to a squashfs image with the extension-release file of 'hello'",
            fits,
        )
    }

    fn moves_to_the_next_version(&mut self) -> Result<(), Box<dyn Error>> {
        self.stage.headline("hello 1.1.0 comes out")?;
        let second = self.publish("1.1.0")?;
        let news = self.stage.run(&["-C", "hello", "check-new"])?;
        self.stage.check_exit(&news, 0, "there is something new")?;
        self.stage.check(
            "stdout is the version and nothing else",
            news.stdout == "1.1.0\n",
        )?;
        let update = self.stage.run(&["-C", "hello", "update"])?;
        self.stage
            .check_exit(&update, 0, "installed beside the old version")?;
        self.show_tree()?;
        self.check_current("1.1.0", &second)
    }

    fn asks_cheaply_and_distrusts(&mut self) -> Result<(), Box<dyn Error>> {
        self.stage
            .headline("Nothing new: one conditional request")?;
        // What was learnt by the update is kept; this run only asks whether it still holds.
        self.bakery.requests();
        let news = self.stage.run(&["-C", "hello", "check-new"])?;
        self.stage.check_exit(&news, 1, "nothing new")?;
        let requests = self.bakery.requests();
        stage::line(
            "The bakery saw a redirect to the release, one to an address that expires, and:",
        )?;
        stage::quote(requests.last().map_or("", String::as_str))?;
        let cheap = requests.len() == 3
            && requests
                .last()
                .is_some_and(|request| request.ends_with(" 304"));
        self.stage
            .check("304 Not Modified: the manifest was not sent again", cheap)?;

        self.stage.headline("A signature is demanded; this bakery has none, and answers with a page of its web site")?;
        let keyring = self.stage.inside("/keyring.pgp");
        fs::File::create(&keyring)?;
        let variable = [(
            "SYSTEMD_OPENPGP_KEYRING",
            keyring
                .to_str()
                .ok_or("the temporary directory is no text")?,
        )];
        let refused = self
            .stage
            .run_with(&variable, &["-C", "hello", "--verify=yes", "check-new"])?;
        self.stage.check_exit(&refused, 1, "refused")?;
        self.stage.check(
            "a web page is no signature, and nothing was believed",
            refused.stdout.is_empty(),
        )?;
        let page = self
            .bakery
            .requests()
            .iter()
            .any(|request| request.ends_with("/sysext-bakery/ → 200"));
        self.stage.check("the page was looked at", page)
    }

    fn refuses_a_tampered_image(&mut self) -> Result<(), Box<dyn Error>> {
        self.stage.headline(
            "hello 1.2.0 comes out, but somebody changed a byte of the image on the server",
        )?;
        let before = fs::read(self.stage.inside(LINK))?;
        let mut tampered = self.publish("1.2.0")?;
        let middle = tampered.len() / 2;
        tampered[middle] ^= 1;
        self.bakery
            .replace("hello", "1.2.0", &self.architecture, &tampered);
        let update = self.stage.run(&["-C", "hello", "update"])?;
        self.stage.check_exit(&update, 1, "refused")?;
        self.stage.check(
            "the reason is told",
            update.stderr.contains("does not match expected checksum"),
        )?;
        self.show_tree()?;
        self.check_current("1.1.0", &before)
    }

    fn goes_on_by_itself(&mut self) -> Result<(), Box<dyn Error>> {
        self.stage.headline("The server is mended, and the next plain update goes through: nothing to clean up by hand")?;
        let third = self.publish("1.2.0")?;
        let update = self.stage.run(&["-C", "hello", "update"])?;
        self.stage.check_exit(&update, 0, "installed")?;
        self.show_tree()?;
        self.check_current("1.2.0", &third)?;
        let left = fs::read_dir(self.stage.inside(VERSIONS))?.count();
        self.stage
            .check("three versions are kept, and no leftover", left == 3)
    }

    fn explains_itself(&mut self) -> Result<(), Box<dyn Error>> {
        self.stage.headline("Why is each version what it is?")?;
        let list = self.stage.run(&["-C", "hello", "list", "--why"])?;
        self.stage.check_exit(&list, 0, "listed")?;
        self.stage.check(
            "1.2.0 is current",
            has_row(&list.stdout, "1.2.0", "current"),
        )?;
        let status = self.stage.run(&["status"])?;
        self.stage
            .check_exit(&status, 0, "all components at a glance")?;
        self.stage.check(
            "it says that nobody signed this",
            has_row(&status.stdout, "hello", "unsigned"),
        )?;
        stage::line(NEXT)?;
        Ok(())
    }

    /// Publishes a version for this machine and for others; returns the image for this one.
    fn publish(&self, version: &str) -> Result<Vec<u8>, Box<dyn Error>> {
        let mut architectures = vec!["x86-64", "arm64"];
        if !architectures.contains(&self.architecture.as_str()) {
            architectures.push(&self.architecture);
        }
        let mut images = Vec::new();
        for architecture in architectures {
            images.push((
                architecture.to_owned(),
                image::build(version, architecture)?,
            ));
        }
        self.bakery.publish("hello", version, &images)?;
        let own = images
            .into_iter()
            .find(|(architecture, _)| *architecture == self.architecture);
        Ok(own.ok_or("no image for this machine")?.1)
    }

    fn show_tree(&self) -> Result<(), Box<dyn Error>> {
        self.stage
            .tree(&["/var/lib/extensions", "/var/lib/extensions.d"])?;
        Ok(())
    }

    /// The symlink must lead to this version, and the bytes behind it be exactly these.
    fn check_current(&self, version: &str, image: &[u8]) -> Result<(), Box<dyn Error>> {
        let link = self.stage.inside(LINK);
        let text = format!(
            "../extensions.d/hello/hello-{version}-{}.raw",
            self.architecture
        );
        let right = fs::read_link(&link)? == Path::new(&text) && fs::read(&link)? == image;
        self.stage.check(
            &format!("hello.raw leads to {version}, whole to the last byte"),
            right,
        )
    }
}

/// Whether a table has a row with both words.
fn has_row(table: &str, first: &str, second: &str) -> bool {
    table.lines().any(|line| {
        [first, second]
            .iter()
            .all(|word| line.split_whitespace().any(|cell| cell == *word))
    })
}

const LINK: &str = "/var/lib/extensions/hello.raw";
const VERSIONS: &str = "/var/lib/extensions.d/hello";

const NEXT: &str = "
On a real host the update would now merge the extension and reload the service manager.
Where to go next:
  transfer.d-examples/  complete definitions: Kubernetes, Tailscale, signed sources, configuration extensions, plain files
  README.md             the shortest useful example, a timer, what is kept on disk, exit codes, how it differs from
                        systemd-sysupdate";

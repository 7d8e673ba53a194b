# The units as they are shipped: the sandboxed service updates, merges, restarts and takes back; it is safe enough, and valid.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

for unit in /srv/units/*.service /srv/units/*.timer; do
    cp "$unit" /etc/systemd/system/
    systemd-analyze verify "$unit" 2>&1 | grep -v 'man sysupdate' | grep -F "${unit##*/}" && fail "systemd-analyze finds fault with $unit"
done
systemctl daemon-reload

say 'exposure below 4.0'
exposure=$(systemd-analyze security --no-pager sysupdate.service | sed -n 's/.*level for sysupdate.service: \([0-9.]*\).*/\1/p')
say "exposure $exposure"
awk -v found="$exposure" 'BEGIN { exit !(found > 0 && found < 4.0) }' || fail "the exposure is '$exposure'"

define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"

[check]
units = ["hello.service"]
settle = "5s"
END
printf '[metrics]\ntextfile = "/var/lib/metrics/sysupdate.prom"\n[reboot]\nwindow = "Mon..Sun 00:00-24:00"\n' >/etc/sysupdate/config.toml
extension hello 1
publish hello
start_server

say 'it installs, merges and starts'
systemctl start sysupdate.service
eventually 10 'version of the running service' 1 version_running hello
expect_match 'the metrics' 'component_info.component="hello",version="1". 1' "$(cat /var/lib/metrics/sysupdate.prom)"

say 'it updates and restarts'
extension hello 2
publish hello
systemctl start sysupdate.service
eventually 10 'version of the running service' 2 version_running hello

say 'a version that fails goes back, and the service has done its work'
crashing_extension hello 3 2
publish hello
systemctl start sysupdate.service
expect 'the result of the service' success "$(systemctl show --property=Result --value sysupdate.service)"
eventually 10 'version of the running service' 2 version_running hello
journal 'hello: 3 failed, 2 is back' -o cat SYSUPDATE_EVENT=reverted

say 'no server: the service fails, and says why'
stop_server
systemctl start sysupdate.service && fail 'a dead server is no success'
journal '127\.0\.0\.1' -o cat -u sysupdate.service -n 20

say 'nothing waits for a reboot, so none happens'
systemctl start sysupdate-reboot.service
printf '[reboot]\nwindow = "%s 00:00-00:01"\n' "$(LC_ALL=C date -d '+3 days' +%a)" >/etc/sysupdate/config.toml
echo 'somebody wants it' >/run/reboot-required
systemctl start sysupdate-reboot.service
journal 'Not rebooting now: the window is' -o cat -u sysupdate-reboot.service -n 5
rm /run/reboot-required

say 'the timers are off until somebody wants them'
cp /srv/units/90-sysupdate.preset /etc/systemd/system-preset/ 2>/dev/null || { mkdir -p /etc/systemd/system-preset; cp /srv/units/90-sysupdate.preset /etc/systemd/system-preset/; }
systemctl preset sysupdate.timer sysupdate-reboot.timer
expect 'the timer' disabled "$(systemctl is-enabled sysupdate.timer || true)"
systemctl enable --now sysupdate.timer
expect 'the timer' active "$(systemctl is-active sysupdate.timer)"

# Flatcar reloads units by a service that is bound to systemd-sysext.service: it has to run again after every merge of ours.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"
END
cat >/etc/systemd/system/ensure-sysext.service <<'END'
[Unit]
BindsTo=systemd-sysext.service
After=systemd-sysext.service
DefaultDependencies=no

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/bin/sh -c 'echo run >>/run/ensure-sysext.log'
ExecStart=/usr/bin/systemctl daemon-reload
ExecStart=/usr/bin/systemctl restart --no-block sockets.target timers.target multi-user.target
END
systemctl daemon-reload

runs() { wc -l </run/ensure-sysext.log; }

# As on Flatcar, where an extension of the system itself is always there.
extension base 1
mkdir -p /var/lib/extensions
cp "$www/base/$(image_name base 1)" /var/lib/extensions/base.raw
systemctl start ensure-sysext.service
eventually 10 'version of the base service' 1 version_running base
expect 'runs of ensure-sysext' 1 "$(runs)"

extension hello 1
publish hello
start_server
run 0 update -A
eventually 10 'version of the running service' 1 version_running hello
expect 'runs of ensure-sysext' 2 "$(runs)"
eventually 10 'state of ensure-sysext' active systemctl is-active ensure-sysext.service
expect 'merged extensions' $'base\nhello' "$(merged sysext | sort)"

extension hello 2
publish hello
run 0 update -A
expect 'runs of ensure-sysext' 3 "$(runs)"
expect_link /var/lib/extensions/hello.raw "/var/lib/extensions.d/hello/$(image_name hello 2)"

say 'without a new version it is left alone'
run 0 update -A
expect 'runs of ensure-sysext' 3 "$(runs)"

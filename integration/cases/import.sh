# A host that was set up by hand for systemd-sysupdate, as Flatcar's documentation has it, is taken over as it runs: nothing is
# downloaded again, nothing of anybody else's is touched, and then it updates itself.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

# definition NAME PATTERN: as the bakery publishes them
definition() {
    mkdir -p "/etc/sysupdate.$1.d"
    cat >"/etc/sysupdate.$1.d/$1.conf" <<END
[Transfer]
Verify=false

[Source]
Type=url-file
Path=http://127.0.0.1/$1/
MatchPattern=$2-%a.raw

[Target]
InstancesMax=3
Type=regular-file
Path=/opt/extensions/$1
CurrentSymlink=/etc/extensions/$1.raw
END
}

# by_hand NAME VERSION: the image and the link, as Ignition puts them there
by_hand() {
    mkdir -p "/opt/extensions/$1" /etc/extensions
    cp "$www/$1/$(image_name "$1" "$2")" "/opt/extensions/$1/"
    ln -s "/opt/extensions/$1/$(image_name "$1" "$2")" "/etc/extensions/$1.raw"
}

# everything of anybody else's, with contents and times
foreign() {
    find /etc /opt /usr/lib/sysupdate.d -path /etc/sysupdate -prune -o -printf '%p %y %m %s %T@ %i %l\n' | grep -v '^/etc d ' | sort
}

for name in kubernetes docker loose; do
    extension "$name" v1.32.1
    publish "$name"
done
cat "$www"/{kubernetes,docker,loose}/SHA256SUMS >"$www/SHA256SUMS"
for name in kubernetes docker loose; do by_hand "$name" v1.32.1; done
definition kubernetes kubernetes-v1.32.@v
definition docker docker-@v
mkdir -p /usr/lib/sysupdate.d /etc/sysupdate.d /etc/systemd/system/systemd-sysupdate.service.d
printf '[Source]\nType=regular-file\nPath=/\nMatchPattern=invalid@v.raw\n[Target]\nType=regular-file\nPath=/\n' |
    tee /usr/lib/sysupdate.d/noop.transfer >/etc/sysupdate.d/noop.conf
ln -s /dev/null /etc/extensions/docker-flatcar.raw
cat >/etc/systemd/system/systemd-sysupdate.service.d/kubernetes.conf <<'END'
[Service]
ExecStartPre=/usr/bin/sh -c "readlink --canonicalize /etc/extensions/kubernetes.raw > /tmp/kubernetes"
ExecStartPre=/usr/lib/systemd/systemd-sysupdate -C kubernetes update
ExecStartPost=/usr/bin/sh -c "readlink --canonicalize /etc/extensions/kubernetes.raw > /tmp/kubernetes-new"
ExecStartPost=/usr/bin/sh -c "if ! cmp --silent /tmp/kubernetes /tmp/kubernetes-new; then touch /run/reboot-required; fi"
END
cat >/etc/systemd/system/systemd-sysupdate.service.d/docker.conf <<'END'
[Service]
ExecStartPre=/usr/lib/systemd/systemd-sysupdate -C docker update
ExecStartPost=systemctl restart systemd-sysext
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
systemctl start ensure-sysext.service
for name in kubernetes docker loose; do eventually 10 "version of $name" v1.32.1 version_running "$name"; done
runs() { wc -l </run/ensure-sysext.log; }
ran=$(runs)
start_server

say 'it is taken over as it runs'
before=$(foreign)
pid=$(main_pid kubernetes)
run 0 --from=http://127.0.0.1 import --yes
for name in docker loose; do expect_match 'what is told' "Imported '$name': version v1.32.1 is installed" "$stderr"; done
expect_match 'what is told' "Imported 'kubernetes': version 1 is installed" "$stderr"
expect 'what is not its own' "$before" "$(foreign)"
expect 'process of the service' "$pid" "$(main_pid kubernetes)"
expect 'runs of ensure-sysext' "$ran" "$(runs)"
expect 'downloads' '' "$(grep '\.raw' /var/log/nginx/access.log || true)"
cp "$work/stderr" /run/told
run 0 update -A
expect 'downloads of what is installed' '' "$(grep '^GET .*\.raw' /var/log/nginx/access.log || true)"

say 'the commands that it tells take the rest away'
sed -n 's/^  \(rm\|rmdir\|systemctl\) /\1 /p' /run/told >/run/commands
expect_match 'the commands' '^rm /etc/sysupdate.d/noop.conf$' "$(</run/commands)"
# The packages of these systems have no units of this program's.
grep -v 'enable --now sysupdate.timer' /run/commands | sh -eu
expect 'what is left in systemd'\''s form' '' "$(find /etc/sysupdate.d /etc/sysupdate.*.d /etc/systemd/system/systemd-sysupdate.service.d -type f 2>/dev/null || true)"
run 0 --from=http://127.0.0.1 import
expect_match 'what is told' 'There is nothing to import' "$stderr"

say 'updates follow what the drop-ins had: at once, or with the next boot'
for name in kubernetes docker loose; do
    extension "$name" v1.32.2
    publish "$name"
done
run 0 update -A
for name in docker loose; do eventually 10 "version of $name" v1.32.2 version_running "$name"; done
expect 'runs of ensure-sysext' "$((ran + 1))" "$(runs)"
expect 'version of kubernetes' v1.32.1 "$(version_running kubernetes)"
expect_match 'what waits for a reboot' kubernetes "$(</run/reboot-required)"
expect_link /etc/extensions/docker.raw "/opt/extensions/docker/$(image_name docker v1.32.2)"
expect 'a mask' /dev/null "$(readlink /etc/extensions/docker-flatcar.raw)"
expect_match 'the definition of the OS' invalid@v.raw "$(</usr/lib/sysupdate.d/noop.transfer)"

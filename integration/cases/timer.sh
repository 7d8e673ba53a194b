# The main job: a timer runs the update, the image is merged, its unit runs; two more versions replace it in flight.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"

[target]
instances_max = 2

[activate]
restart = ["hello.service"]
END
cat >/etc/systemd/system/update.service <<'END'
[Service]
Type=oneshot
ExecStart=/usr/local/bin/sysupdate update -A
END
cat >/etc/systemd/system/update.timer <<'END'
[Timer]
OnActiveSec=1s
OnUnitInactiveSec=2s
AccuracySec=100ms
END
systemctl daemon-reload

extension hello 1
publish hello
start_server

say 'the timer installs, merges and starts the first version'
systemctl start update.timer
eventually 30 'version of the running service' 1 version_running hello
directory=/var/lib/extensions.d/hello
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 1)"
expect 'merged extensions' hello "$(merged sysext)"
expect_files 'installed images' "$directory" "$(image_name hello 1)"

say 'a newer one replaces it and the service is restarted'
extension hello 2
publish hello
eventually 30 'version of the running service' 2 version_running hello
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 2)"
eventually 10 'state of the updating unit' inactive systemctl show --value --property=ActiveState update.service
expect_files 'installed images' "$directory" "$(image_name hello 1)" "$(image_name hello 2)"

say 'a third one pushes the first one out'
extension hello 3
publish hello
eventually 30 'version of the running service' 3 version_running hello
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 3)"
eventually 10 'state of the updating unit' inactive systemctl show --value --property=ActiveState update.service
expect_files 'installed images' "$directory" "$(image_name hello 2)" "$(image_name hello 3)"
expect 'merged extensions' hello "$(merged sysext)"

say 'a run with nothing to do restarts nothing and merges nothing'
systemctl stop update.timer
eventually 10 'state of the updating unit' inactive systemctl show --value --property=ActiveState update.service
pid=$(main_pid hello) merge=$(systemd-sysext status --json=short)
run 0 update -A
expect 'process of the service' "$pid" "$(main_pid hello)"
expect 'the merge' "$merge" "$(systemd-sysext status --json=short)"
expect 'result of the updating unit' success "$(systemctl show --value --property=Result update.service)"
run 1 check-new -C hello
expect 'standard output of check-new' '' "$stdout"

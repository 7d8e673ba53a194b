# The way back by hand: rollback, hold and unhold, and forward again, all without the network.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"
END
directory=/var/lib/extensions.d/hello
extension hello 1
publish hello
start_server
run 0 update -A
extension hello 2
publish hello
run 0 update -A
eventually 10 'version of the running service' 2 version_running hello

say 'back to the previous version, without the server'
stop_server
run 0 rollback -C hello
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 1)"
eventually 10 'version of the running service' 1 version_running hello
expect_match 'the status' '2 is held back' "$(sysupdate status)"

say 'there is nothing older'
run 1 rollback -C hello
expect_match 'the message' 'no older version' "$stderr"

say 'the version left does not come back by itself, a newer one does'
start_server
run 0 update -A
eventually 10 'version of the running service' 1 version_running hello
extension hello 3
publish hello
run 0 update -A
eventually 10 'version of the running service' 3 version_running hello

say 'held'
run 0 hold -C hello
extension hello 4
publish hello
run 0 update -A
eventually 10 'version of the running service' 3 version_running hello
run 1 check-new -C hello
run 1 update 4 -C hello
expect_match 'the message' 'held' "$stderr"
run 0 unhold -C hello
run 0 update -A
eventually 10 'version of the running service' 4 version_running hello

say 'rolled back and forward again by name'
run 0 rollback -C hello
eventually 10 'version of the running service' 3 version_running hello
run 0 update 4 -C hello --offline
eventually 10 'version of the running service' 4 version_running hello
expect_match 'the history' 'rolled-back +4 +3' "$(sysupdate history)"
run 0 history --json=short
expect 'events' 'rolled-back' "$(jq -r '[.[].event] | map(select(. == "rolled-back"))[0]' <<<"$stdout")"

say 'what a trial takes back meanwhile is not gone back from again'
cat >>/etc/sysupdate/transfer.d/hello.toml <<'END'
[check]
units = ["hello.service"]
settle = "3s"
END
on_trial() { [[ -e /var/lib/sysupdate/trial/record.json && $(trial_phase) == checking ]] && echo yes || echo no; }
back_once() {
    expect_no_trial
    expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 4)"
    eventually 10 'version of the running service' 4 version_running hello
}
crashing_extension hello 5 2
publish hello
sysupdate update -A >/dev/null 2>&1 &
update=$!
eventually 20 'a trial' yes on_trial
run 0 --wait=60 rollback -C hello
expect_match 'the message' 'hello has gone back from 5 to 4 in the meantime' "$stderr"
status=0
wait "$update" || status=$?
expect 'exit status of the update' 3 "$status"
back_once

say 'nor what a trial takes back that was cut off'
crashing_extension hello 6 2
publish hello
start update -A
eventually 20 'a trial' yes on_trial
killed KILL
run 3 rollback -C hello
expect_match 'the message' 'hello has gone back from 6 to 4 in the meantime' "$stderr"
back_once

# A version whose service does not live is reverted by itself: the old one runs again, the bad one does not come back.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"

[check]
units = ["hello.service"]
settle = "8s"
END
directory=/var/lib/extensions.d/hello
extension hello 1
publish hello
start_server
run 0 update -A
eventually 10 'version of the running service' 1 version_running hello

say 'a service that crashes after five seconds'
crashing_extension hello 2 5
publish hello
run 3 update -A
expect_match 'the message' 'hello.service' "$stderr"
expect_match 'the message' 'reverting' "$stderr"
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 1)"
eventually 10 'version of the running service' 1 version_running hello
expect 'merged extensions' hello "$(merged sysext)"
[[ ! -e /var/lib/sysupdate/trial/record.json ]] || fail 'the trial is over, and its record is still there'
expect_match 'the status' '2 is bad' "$(sysupdate status)"
expect_match 'the history' 'reverted +2 +1' "$(sysupdate history)"
journal SYSUPDATE_REASON --output=json SYSUPDATE_EVENT=reverted SYSUPDATE_COMPONENT=hello
entry=$journal
expect 'the versions of the journal entry' '2 1' "$(jq -r '"\(.SYSUPDATE_VERSION_BEFORE) \(.SYSUPDATE_VERSION)"' <<<"$entry")"
expect_match 'the reason in the journal' 'hello.service' "$(jq -r .SYSUPDATE_REASON <<<"$entry")"
expect_match 'the log of the unit in the journal' 'exit|fail' "$(jq -r .SYSUPDATE_LOG <<<"$entry")"
expect 'the kind of the journal entry' ccacb2c5516c4b01a759b37df9757d24 "$(jq -r .MESSAGE_ID <<<"$entry")"

say 'it is not tried again, offline or online'
pid=$(main_pid hello)
run 0 update -A
expect 'process of the service' "$pid" "$(main_pid hello)"
run 1 check-new -C hello
run 0 list -C hello --why
expect_match 'the reason' 'bad since .*hello.service' "$stdout"

say 'a newer one comes'
extension hello 3
publish hello
run 0 update -A
eventually 10 'version of the running service' 3 version_running hello

say 'the same version with other bytes is another version'
crashing_extension hello 4 1
publish hello
run 3 update -A
eventually 10 'version of the running service' 3 version_running hello
extension hello 4
publish hello
run 0 update -A
expect_match 'the message' 'accept-manifest' "$stderr"
eventually 10 'version of the running service' 3 version_running hello
run 0 update -A --accept-manifest
eventually 10 'version of the running service' 4 version_running hello

say 'a service that cannot start at all is noticed without any check'
define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"
END
crashing_extension hello 5 0
publish hello
run 3 update -A
eventually 10 'version of the running service' 4 version_running hello

say 'a check command that fails'
define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"

[check]
command = ["/bin/sh", "-c", "grep -q 4 /run/hello.version"]
settle = "0"
END
extension hello 6
publish hello
run 3 update -A
expect_match 'the message' 'the check .* failed' "$stderr"
eventually 10 'version of the running service' 4 version_running hello

say 'asked for by name it is tried again'
sed -i 's/^command.*/command = ["\/bin\/true"]/' /etc/sysupdate/transfer.d/hello.toml
run 0 update 6 -C hello
eventually 10 'version of the running service' 6 version_running hello

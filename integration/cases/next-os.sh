# The next operating system: what fits it is fetched before its first boot, and a boot of either system finds its own version.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

next=/etc/next-os-release log=/var/log/nginx/access.log
directory=/var/lib/extensions.d/hello

# os VERSION FILE
os() {
    rm -f "$2"
    printf 'ID=case\nVERSION_ID="%s"\n' "$1" >"$2"
}
for_os() { release=(ID=case "VERSION_ID=$1"); }
# moved NAME VERSION: bytes that the server has sent of an image
moved() { awk -v path="/$1/$(image_name "$1" "$2")" '$2 == path { sum += $4 } END { print sum + 0 }' "$log"; }
# boots: what a boot does, as far as extensions are concerned
boots() {
    run 0 select -A
    systemctl restart systemd-sysext.service
    systemctl daemon-reload
    systemctl try-restart hello.service
}

os 1 /etc/os-release
os 2 "$next"
define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"

[target]
instances_max = 3
END
for_os 1
extension hello 1
publish hello
start_server
run 0 update -A
extension hello 2
for_os 2
extension hello 3 100
publish hello

say 'the newest version is for another system: it is passed over and never downloaded'
run 0 update -A
eventually 10 'version of the running service' 2 version_running hello
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 2)"
expect_files 'installed images' "$directory" "$(image_name hello 1)" "$(image_name hello 2)"
bytes=$(moved hello 3)
say "the look into an image of 100 MiB has moved $bytes bytes"
((bytes > 0)) || fail 'the image for the other system was not even looked at'
((bytes < 1000000)) || fail "the look has moved $bytes bytes"

say 'each verb says so, and nobody looks twice'
run 1 check-new -C hello
run 0 list -C hello --why
expect_match 'the reason' '3 .*VERSION_ID' "$stdout"
run 0 plan -C hello
expect_match 'the plan' 'not 3: .*VERSION_ID' "$stdout"
run 0 update -A
expect 'bytes that were moved' "$bytes" "$(moved hello 3)"

say 'asked for by name it is refused'
run 1 update 3 -C hello
expect_match 'the message' 'VERSION_ID' "$stderr"

say 'the same questions for the next system'
run 0 check-new -C hello "--for-os-release=$next"
expect 'the answer' 3 "$stdout"
run 0 list -C hello "--for-os-release=$next"
expect_match 'the list' '3 .*candidate' "$stdout"
run 0 plan -C hello "--for-os-release=$next" --json=short
expect 'the planned version' 3 "$(jq -r '.components[0].version' <<<"$stdout")"
run 1 update -C hello "--for-os-release=$next"
expect_match 'the message' 'for-os-release' "$stderr"

say 'the gate stays shut as long as one extension has nothing for the next system'
define other <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/other"
END
for_os 1
extension other 1
publish other
run 0 update -C other
run 1 gate -A "--for-os-release=$next"
expect_match 'the message' 'for: other\.' "$stderr"
expect_match 'the message' 'hello: 3 fits' "$stderr"
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 2)"
eventually 10 'version of the running service' 2 version_running hello
run 1 gate -A
expect_match 'the message' 'for-os-release' "$stderr"

say 'it opens when everything is here, and then needs no server'
for_os 2
extension other 2
publish other
run 0 gate -A "--for-os-release=$next"
stop_server
run 0 gate -A "--for-os-release=$next"

say 'a run before the reboot leaves what is for the next system alone'
run 0 update -A --offline
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 2)"
run 0 select -A
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 2)"

say 'the next system boots'
os 2 /etc/os-release
boots
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 3)"
expect_link /var/lib/extensions/other.raw "/var/lib/extensions.d/other/$(image_name other 2)"
eventually 10 'version of the running service' 3 version_running hello
expect 'merged extensions' $'hello\nother' "$(merged sysext | sort)"

say 'back to the system before, and forward again'
os 1 /etc/os-release
boots
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 2)"
expect_link /var/lib/extensions/other.raw "/var/lib/extensions.d/other/$(image_name other 1)"
eventually 10 'version of the running service' 2 version_running hello
os 2 /etc/os-release
boots
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 3)"

say 'a version that fits both systems is no reason to stay on it'
start_server
os 1 /etc/os-release
release=(ID=_any)
extension other 3
for_os 2
extension other 4
publish other
run 0 select -A
run 0 update -C other
expect_link /var/lib/extensions/other.raw "/var/lib/extensions.d/other/$(image_name other 3)"
run 0 acquire -C other "--for-os-release=$next"
os 2 /etc/os-release
run 0 update -C other
expect_link /var/lib/extensions/other.raw "/var/lib/extensions.d/other/$(image_name other 4)"
os 1 /etc/os-release
boots
expect_link /var/lib/extensions/other.raw "/var/lib/extensions.d/other/$(image_name other 3)"
os 2 /etc/os-release
boots
expect_link /var/lib/extensions/other.raw "/var/lib/extensions.d/other/$(image_name other 4)"

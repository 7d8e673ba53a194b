# One broken component does not stop the others; nothing defined is no failure.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

say 'nothing defined'
run 0 update -A
expect_match 'the message' 'no .*(component|transfer|definition)|nothing' "$stderr"
run 0 check-new -A
expect_match 'the message' 'no .*(component|transfer|definition)|nothing' "$stderr"

start_server
for name in first second third; do
    define "$name" <<END
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/$name"
END
    extension "$name" 1
    publish "$name"
done
# links NAME…: exactly these are linked and merged
links() {
    expect_files 'links' /var/lib/extensions "${@/%/.raw}"
    expect 'merged extensions' "$(printf '%s\n' "$@" | sort)" "$(merged sysext | sort)"
}

say 'the second of three has no manifest'
rm "$www/second/SHA256SUMS"
run 1 update -A
expect_match 'the message' 'second' "$stderr"
links first third
eventually 10 'version of the third service' 1 version_running third

say 'the second one is mended'
publish second
run 0 update -A
links first second third

say 'the first one has a broken image'
extension first 2
extension third 2
publish first
publish third
printf X | dd of="$www/first/$(image_name first 2)" bs=1 seek=200 conv=notrunc status=none
run 1 update -A
expect_link /var/lib/extensions/first.raw "/var/lib/extensions.d/first/$(image_name first 1)"
expect_link /var/lib/extensions/third.raw "/var/lib/extensions.d/third/$(image_name third 2)"
expect 'merged extensions' $'first\nsecond\nthird' "$(merged sysext | sort)"

say 'a broken definition is one broken component'
printf '[source]\nurk = 1\n' >/etc/sysupdate/transfer.d/first.toml
extension third 3
publish third
run 1 update -A
expect_match 'the message' 'first\.toml' "$stderr"
expect_link /var/lib/extensions/third.raw "/var/lib/extensions.d/third/$(image_name third 3)"

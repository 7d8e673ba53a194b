# From an empty host to an extension that updates itself, and back to an empty host: add, update, restart, remove.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

# A bakery as the community's: a listing of everything, and one per extension beside its images.
bake() {
    publish hello
    publish other
    cat "$www"/{hello,other}/SHA256SUMS >"$www/SHA256SUMS"
}
link=/var/lib/extensions/hello.raw directory=/var/lib/extensions.d/hello
extension hello 1.0.0
extension other 1.0.0
bake
start_server
before=$(find /etc/sysupdate /var/lib/extensions /var/lib/extensions.d -mindepth 1 2>/dev/null || true)
expect 'what is here before' '' "$before"

say 'what there is'
run 0 --from=http://127.0.0.1 search
expect_match 'the list' '^hello +1\.0\.0 +1 no' "$stdout"

say 'one line, and it runs'
run 0 --from=http://127.0.0.1 add hello@1 --now
eventually 10 'version of the running service' 1.0.0 version_running hello
expect_link "$link" "$directory/$(image_name hello 1.0.0)"
expect 'merged extensions' hello "$(merged sysext)"
run 1 --from=http://127.0.0.1 add hello
expect_match 'the message' 'defined already' "$stderr"

say 'it keeps itself current, within its series'
extension hello 1.1.0
extension hello 2.0.0
bake
run 0 update -A
eventually 10 'version of the running service' 1.1.0 version_running hello

say 'without --now it waits for a word'
run 0 --from=http://127.0.0.1 add other
expect 'merged extensions' hello "$(merged sysext)"
run 0 activate -C other
expect 'merged extensions' $'hello\nother' "$(merged sysext | sort)"
eventually 10 'version of the running service' 1.0.0 version_running other

say 'nothing goes without a word'
run 1 remove hello
expect_match 'the message' 'call again with --yes' "$stderr"
eventually 10 'version of the running service' 1.1.0 version_running hello

say 'away, without a trace'
run 0 remove hello other --yes
expect 'merged extensions' '' "$(merged sysext)"
eventually 10 'the service' inactive systemctl is-active hello.service
expect 'definitions' '' "$(find /etc/sysupdate -type f)"
expect 'links and images' '' "$(find /var/lib/extensions /var/lib/extensions.d -mindepth 1)"
expect 'marks, choices, notes' '' "$(find /var/lib/sysupdate/{marks,chosen,owed,trial} -type f 2>/dev/null || true)"
expect 'the installation database' '' "$(find /var/lib/systemd/sysupdate -type l)"
run 0 update -A

# Two runs at once: the second one says who is at work, or waits for it.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"
END
directory=/var/lib/extensions.d/hello
extension hello 1 4
publish hello
server_rate 1m
start_server

start update -A
first=$started
eventually 20 'data of the download on disk' yes bash -c "find $directory -name '.sysupdate.*' -size +100000c | grep -q . && echo yes"
cp "$work/stderr" "$work/first-stderr"

run 1 update -A --wait=0
expect_match 'the message' "\\b$first\\b" "$stderr"
kill -0 "$first" || fail 'the first run is over before the second one was tried'

run 0 update -A --wait=60
if kill -0 "$first" 2>/dev/null; then fail 'the waiting run ended before the first one'; fi
status=0
wait "$first" || status=$?
expect 'exit status of the first run' 0 "$status"
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 1)"
expect_files 'installed images' "$directory" "$(image_name hello 1)"
expect 'downloads' 1 "$(grep -c "GET /hello/$(image_name hello 1) 200" /var/log/nginx/access.log)"

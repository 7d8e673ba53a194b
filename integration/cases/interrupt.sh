# SIGKILL and Ctrl-C in the middle of a download: the old version stands, the next plain run completes the work.
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
directory=/var/lib/extensions.d/hello

# download_begun BYTES: waits until so much of a new image has arrived
download_begun() {
    eventually 20 "data of the download on disk" yes \
        bash -c "find $directory -name '.sysupdate.*' -size +$1c | grep -q . && echo yes"
}
arrives() {
    server_rate 0
    run 0 update -A
    eventually 10 'version of the running service' "$1" version_running hello
    expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello "$1")"
    expect 'the installed image' "$(sha256sum <"$www/hello/$(image_name hello "$1")")" "$(sha256sum <"$directory/$(image_name hello "$1")")"
    expect 'leftovers' '' "$(find /var/lib/extensions.d -name '.*')"
}
old_version_stands() {
    expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello "$1")"
    eventually 10 'version of the running service' "$1" version_running hello
}

extension hello 1
publish hello
start_server
arrives 1

say 'SIGKILL'
extension hello 2 8
publish hello
server_rate 1m
start update -A
download_begun 500000
kill -KILL "$started"
finished 5
expect 'exit status' 137 "$status"
old_version_stands 1
arrives 2

say 'Ctrl-C'
extension hello 3 8
publish hello
server_rate 1m
start update -A
download_begun 500000
kill -INT "$started"
finished 5
[[ $status -ne 0 ]] || fail 'an interrupted run claims success'
expect_match 'the message' 'next run|resume' "$stderr"
old_version_stands 2
arrives 3
expect_files 'installed images' "$directory" "$(image_name hello 2)" "$(image_name hello 3)"

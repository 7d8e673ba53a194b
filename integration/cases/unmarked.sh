# A download that is cut off where the file system keeps no extended attributes, as on an EFI system partition: the next run
# goes on where it stopped.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"
match = "hello-@v-%a.raw"

[target]
path = "/mnt/plain"
current_symlink = "hello.raw"

[activate]
mode = "stage"
END
mkdir -p /mnt/plain
# As few as FAT has.
mount -t ramfs none /mnt/plain
setfattr -n user.x -v y /mnt/plain 2>/dev/null && fail 'this file system keeps attributes'

extension hello 1 8
publish hello
start_server

# cut_off SIGNAL
cut_off() {
    server_rate 1m
    start -C hello update
    eventually 20 'data of the download on disk' yes \
        bash -c "find /mnt/plain -name '.sysupdate.partial.*' -size +2000k | grep -q . && echo yes"
    killed "$1"
    server_rate 0
}
# resumes: the rest comes with a plain run, and only the rest
resumes() {
    : >/var/log/nginx/access.log
    run 0 -C hello update
    expect_match 'the message' 'resuming .* at byte [1-9]' "$stderr"
    expect 'the installed image' "$(sha256sum <"$www/hello/$(image_name hello "$1")")" "$(sha256sum </mnt/plain/hello.raw)"
    eventually 5 'answers with a part' 1 grep -c "GET /hello/$(image_name hello "$1") 206" /var/log/nginx/access.log
    expect 'leftovers' '' "$(find /mnt/plain /var/lib/sysupdate/partial -name '.sysupdate*' -o -name '*.json' 2>/dev/null)"
}

say 'SIGKILL'
cut_off KILL
[[ $(stat -c %a /var/lib/sysupdate/partial/*.json) == 600 ]] || fail 'others can read where a download comes from'
resumes 1

say 'Ctrl-C'
extension hello 2 8
publish hello
cut_off INT
resumes 2

say 'the partial file is of something else by now'
extension hello 3 8
publish hello
cut_off INT
partial=/mnt/plain/.sysupdate.partial.$(image_name hello 3)
head -c 3000000 /dev/urandom >"$partial"
run 0 -C hello update
expect_match 'the message' 'does not fit what is there now. starting over' "$stderr"
expect 'the installed image' "$(sha256sum <"$www/hello/$(image_name hello 3)")" "$(sha256sum </mnt/plain/hello.raw)"

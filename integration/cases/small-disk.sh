# Payloads that have no end, and some that grow while they are unpacked, on a small disk: the old version stands, what was
# written is given back, and the host goes on when the server is mended.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

define_transfer 10-app <<'END'
[Transfer]
Verify=no

[Source]
Type=url-file
Path=http://127.0.0.1:81
MatchPattern=app_@v.raw

[Target]
Type=regular-file
Path=/mnt/small
MatchPattern=app_@v.raw
CurrentSymlink=app.raw
InstancesMax=2
END
mkdir -p /mnt/small
mount -t tmpfs -o size=24m none /mnt/small

# One answer per connection, as /run/kind says.
cat >/run/answer <<'END'
read -r _ path _
while read -r line && [[ ${line%$'\r'} ]]; do :; done
status() { printf 'HTTP/1.1 200 OK\r\nConnection: close\r\n'; }
noise() { openssl enc -aes-128-ctr -K "$(printf %032d 1)" -iv "$(printf %032d 2)" -in /dev/zero 2>/dev/null || tr '\0' x </dev/zero; }
case $path:$(</run/kind) in
    /app_2.raw:endless) status; printf '\r\n'; noise ;;
    /app_2.raw:chunks)
        status; printf 'Transfer-Encoding: chunked\r\n\r\n'
        piece=$(printf '%01000d' 0)
        while printf '3e8\r\n%s\r\n' "$piece"; do :; done ;;
    /app_2.raw:understated)
        # A resumed download is told how much is left, so it only can be as much.
        status; printf 'Content-Length: 4096\r\n\r\n'; noise ;;
    *)  status; printf 'Content-Length: %s\r\n\r\n' "$(stat -c %s "/srv/www/app$path")"; cat "/srv/www/app$path" ;;
esac
END
systemd-socket-activate --listen=127.0.0.1:81 --accept --inetd bash /run/answer >/dev/null 2>&1 &

# serves KIND: how version 2 is answered
serves() { printf '%s\n' "$1" >/run/kind; }
manifest() { (cd "$www/app" && sha256sum -- *.raw >SHA256SUMS); }
free() { df --output=avail -k /mnt/small | tail -n 1 | tr -d ' '; }
stands() {
    expect_link /mnt/small/app.raw "/mnt/small/app_$1.raw"
    expect 'the version' "$(sha256sum <"$www/app/app_$1.raw")" "$(sha256sum </mnt/small/app.raw)"
}
# refused KIND REGEX: the update fails within a minute, says so, and leaves neither the version nor its bytes behind
refused() {
    local begun=$SECONDS before
    before=$(free)
    serves "$1"
    say "$1"
    run 1 update
    ((SECONDS - begun < 60)) || fail "it took $((SECONDS - begun)) s"
    expect_match 'the message' "$2" "$stderr"
    stands 1
    (($(free) > before - 1024)) || fail "only $(free) KiB are free, $before were before"
}

mkdir -p "$www/app"
head -c 1M /dev/urandom >"$www/app/app_1.raw"
manifest
serves whole
eventually 10 'the server' 1 bash -c 'exec 3<>/dev/tcp/127.0.0.1/81 && echo 1'
run 0 update
stands 1

head -c 2M /dev/urandom >"$www/app/app_2.raw"
manifest
refused endless 'no space left|cannot write'
refused chunks 'no space left|cannot write'
refused understated 'does not match expected checksum'
serves whole
run 0 update
stands 2

# What the manifest names is right, and grows to a hundred times the disk.
expect_bomb() {
    run 1 update
    expect_match 'the message' 'unpacks to more than the .* that are free|no space left' "$stderr"
    stands 2
}
before=$(free)
for version in 3 4; do
    # Zeros take no room by themselves.
    if [[ $version == 3 ]]; then filler='\0'; else filler=x; fi
    say "a bomb of '$filler'"
    rm -f "$www"/app/app_3.raw
    head -c 2G /dev/zero | tr '\0' "$filler" | gzip -1 >"$www/app/app_$version.raw"
    manifest
    expect_bomb
    (($(free) > before - 1024)) || fail "only $(free) KiB are free, $before were before"
done

# A bad hash, bad signatures, a dead server: the old version keeps running, the cause is named, and once the publisher has mended
# it the next plain run succeeds by itself.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

export GNUPGHOME=/root/keys
# key NAME: a signing key
key() { gpg --batch --quiet --passphrase '' --quick-generate-key "$1" ed25519 sign never 2>/dev/null; }
# publish_signed NAME KEY
publish_signed() {
    publish "$1"
    gpg --batch --quiet --yes --local-user "$2" --output "$www/$1/SHA256SUMS.gpg" --detach-sign "$www/$1/SHA256SUMS"
}
mkdir -m 0700 "$GNUPGHOME"
key publisher@example.org
key stranger@example.org
gpg --batch --quiet --export publisher@example.org >/etc/systemd/import-pubring.pgp

# Verification is on when a definition does not speak of it.
define_transfer hello <<'END'
[Source]
Type=url-file
Path=http://127.0.0.1/hello
MatchPattern=hello-@v-%a.raw

[Target]
Type=regular-file
Path=/var/lib/extensions.d/hello
MatchPattern=hello-@v-%a.raw
CurrentSymlink=/var/lib/extensions/hello.raw
InstancesMax=3

[X-Activate]
Restart=hello.service
END

directory=/var/lib/extensions.d/hello
# old_version_stands VERSION: nothing that was there before has moved
old_version_stands() {
    expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello "$1")"
    eventually 10 'version of the running service' "$1" version_running hello
    expect 'process of the service' "$pid" "$(main_pid hello)"
    expect 'the installed image' "$(sha256sum <"$www/hello/$(image_name hello "$1")")" "$(sha256sum <"$directory/$(image_name hello "$1")")"
}
# new_version_arrives VERSION: by a plain run
new_version_arrives() {
    run 0 update
    eventually 10 'version of the running service' "$1" version_running hello
    expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello "$1")"
    expect 'leftovers' '' "$(find /var/lib/extensions.d -name '.*')"
    pid=$(main_pid hello)
}

extension hello 1
publish_signed hello publisher@example.org
start_server
new_version_arrives 1

say 'an image that is not what the manifest says'
extension hello 2
publish_signed hello publisher@example.org
cp "$www/hello/$(image_name hello 2)" "$work/good"
printf X | dd of="$www/hello/$(image_name hello 2)" bs=1 seek=200 conv=notrunc status=none
run 1 update
expect_match 'the message' 'sha-?256|hash|digest|checksum' "$stderr"
expect_match 'the message' "$(image_name hello 2)" "$stderr"
old_version_stands 1
run 1 update
old_version_stands 1
cp "$work/good" "$www/hello/$(image_name hello 2)"
new_version_arrives 2

say 'a manifest that was changed after it was signed'
extension hello 3
cp "$www/hello/SHA256SUMS.gpg" "$work/old-signature"
publish_signed hello publisher@example.org
cp "$www/hello/SHA256SUMS.gpg" "$work/good-signature"
cp "$work/old-signature" "$www/hello/SHA256SUMS.gpg"
run 1 update
expect_match 'the message' 'signature' "$stderr"
old_version_stands 2
run 1 check-new
old_version_stands 2

say 'a manifest signed by a stranger'
publish_signed hello stranger@example.org
run 1 update
expect_match 'the message' 'signature' "$stderr"
old_version_stands 2

say 'no signature at all'
rm "$www/hello/SHA256SUMS.gpg"
run 1 update
expect_match 'the message' 'signature' "$stderr"
old_version_stands 2
cp "$work/good-signature" "$www/hello/SHA256SUMS.gpg"
new_version_arrives 3

say 'no server'
extension hello 4
publish_signed hello publisher@example.org
stop_server
run 1 update
expect_match 'the message' '127\.0\.0\.1' "$stderr"
expect_match 'the message' 'connect|refused' "$stderr"
old_version_stands 3
run 1 check-new
expect 'standard output of check-new' '' "$stdout"
expect_match 'the message' 'connect|refused' "$stderr"

say 'a server without the manifest'
mv "$www/hello/SHA256SUMS" "$work/manifest"
start_server
run 1 update
expect_match 'the message' '404' "$stderr"
old_version_stands 3
mv "$work/manifest" "$www/hello/SHA256SUMS"
new_version_arrives 4

say 'no loop device is to be had: nothing moves, and nobody is blamed'
extension hello 5
publish_signed hello publisher@example.org
pid=$(main_pid hello)
mount --bind /dev/null /dev/loop-control
run 1 update
expect_match 'the message' 'no loop device is to be had' "$stderr"
umount /dev/loop-control
old_version_stands 4
new_version_arrives 5

# Two components in one run, one of them bad: only that one goes back, the other one stays.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

for name in good evil; do
    define "$name" <<END
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/$name"

[check]
units = ["$name.service"]
settle = "3s"
END
    extension "$name" 1
    publish "$name"
done
start_server
run 0 update -A
eventually 10 'version of good' 1 version_running good
eventually 10 'version of evil' 1 version_running evil

extension good 2
publish good
crashing_extension evil 2 1
publish evil
run 3 update -A
eventually 10 'version of good' 2 version_running good
eventually 10 'version of evil' 1 version_running evil
expect 'merged extensions' $'evil\ngood' "$(merged sysext | sort)"

say 'an image that breaks the merge costs the others nothing'
tree=$(mktemp -d)
mkdir -p "$tree/usr/lib/extension-release.d"
printf 'ID=other-os\n' >"$tree/usr/lib/extension-release.d/extension-release.evil"
image "$tree" evil 3
publish evil
extension good 3
publish good
run 0 update -A
eventually 10 'version of good' 3 version_running good
eventually 10 'version of evil' 1 version_running evil
run 0 list -C evil --why
expect_match 'the reason' 'ID=other-os' "$stdout"
if grep -q "GET /evil/$(image_name evil 3) 200" /var/log/nginx/access.log; then fail 'an image that does not fit was downloaded'; fi

say 'no extension at all is never linked'
head -c 300000 /dev/urandom >"$www/evil/$(image_name evil 4)"
publish evil
run 3 update -A
eventually 10 'version of evil' 1 version_running evil
expect_link /var/lib/extensions/evil.raw "/var/lib/extensions.d/evil/$(image_name evil 1)"

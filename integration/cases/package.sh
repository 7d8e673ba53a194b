# The packages: the .deb comes, runs and goes; the extension brings the program to a host without it, and updates itself.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

made=/run/case/made
binary=/run/case/sysupdate
mv /usr/local/bin/sysupdate "$binary"
hash -r

say 'both are made, the same bytes each time'
export SOURCE_DATE_EPOCH=1700000000
mkdir -p "$www/sysupdate"
/srv/packaging/build --url=http://127.0.0.1/sysupdate "$binary" "$made" >/dev/null
/srv/packaging/build --url=http://127.0.0.1/sysupdate "$binary" "$made.again" >/dev/null
expect 'the packages' "$(cd "$made" && sha256sum ./*)" "$(cd "$made.again" && sha256sum ./*)"
deb=$(echo "$made"/*.deb) image=$(echo "$made"/*.raw)

say 'the package: installed, used, installed again, removed, purged'
dpkg --install "$deb" >/dev/null
hash -r
expect 'the program' /usr/bin/sysupdate "$(command -v sysupdate)"
expect 'the timer' disabled "$(systemctl is-enabled sysupdate.timer || true)"
[[ -s /usr/share/man/man8/sysupdate.8.gz ]] || fail 'the man page is missing'
define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"
END
extension hello 1
publish hello
start_server
systemctl enable --quiet --now sysupdate.timer
systemctl start sysupdate.service
eventually 10 'version of the running service' 1 version_running hello
# While anything is merged, /usr is read-only: for the package manager too.
run 0 remove hello --yes
dpkg --install "$deb" >/dev/null
expect 'the timer' active "$(systemctl is-active sysupdate.timer)"
dpkg --remove sysupdate >/dev/null
hash -r
[[ ! -e /usr/bin/sysupdate ]] || fail 'the program is still there'
expect 'the timer' inactive "$(systemctl is-active sysupdate.timer || true)"
dpkg --purge sysupdate >/dev/null 2>&1
expect 'what is left' '' "$(find /var/lib/sysupdate /var/cache/sysupdate /usr/lib/systemd/system -name '*sysupdate*' ! -name 'systemd-sysupdate*' 2>/dev/null || true)"

say 'the extension: merged on a host without the program, it updates itself'
mkdir -p /var/lib/extensions /var/lib/extensions.d/sysupdate
cp "$image" /var/lib/extensions.d/sysupdate/
name=${image##*/}
arch=$(sed 's/^sysupdate-[^-]*-//; s/\.raw$//' <<<"$name")
ln -s "../extensions.d/sysupdate/$name" /var/lib/extensions/sysupdate.raw
systemctl restart systemd-sysext.service
systemctl daemon-reload
hash -r
run 0 --version
cp "$image" "$www/sysupdate/sysupdate-99.0-$arch.raw"
cp "$image" "$www/sysupdate/$name"
(cd "$www/sysupdate" && sha256sum ./*.raw | sed 's#\./##' >SHA256SUMS)
run 0 -C sysupdate check-new
expect 'the newer version' 99.0 "$stdout"
run 0 update -A
expect_link /var/lib/extensions/sysupdate.raw "/var/lib/extensions.d/sysupdate/sysupdate-99.0-$arch.raw"
expect 'merged extensions' sysupdate "$(merged sysext)"
run 0 -C sysupdate status

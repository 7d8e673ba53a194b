# An extension that comes as an archive and lies as a directory: merged, updated, gone back from.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

# archive VERSION PROGRAM: puts one into /srv/www/agent that brings agent.service, upheld by multi-user.target
archive() {
    local tree
    tree=$(mktemp -d)
    mkdir -p "$tree"/usr/{bin,lib/extension-release.d,lib/systemd/system/multi-user.target.d}
    printf 'ID=_any\nARCHITECTURE=%s\n' "$architecture" >"$tree/usr/lib/extension-release.d/extension-release.agent"
    printf '#!/bin/sh\n%s\n' "$2" >"$tree/usr/bin/agent"
    printf '[Service]\nExecStart=/usr/bin/agent\n' >"$tree/usr/lib/systemd/system/agent.service"
    printf '[Unit]\nUpholds=agent.service\n' >"$tree/usr/lib/systemd/system/multi-user.target.d/10-agent.conf"
    chmod 0755 "$tree" "$tree/usr/bin/agent"
    mkdir -p "$www/agent"
    tar -C "$tree" --owner=0 --group=0 --gzip -cf "$www/agent/agent-$1-$architecture.tar.gz" .
    (cd "$www/agent" && sha256sum -- *.tar.* >.new && mv .new SHA256SUMS)
}

# serving VERSION: a program that says what it is and stays
serving() { printf 'printf %s >/run/agent.version\nexec sleep infinity' "$1"; }

define agent <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/agent"
type = "url-tar"

[target]
instances_max = 2

[check]
units = ["agent.service"]
settle = "3s"
END
archive 1 "$(serving 1)"
start_server

run 0 update -C agent
expect_link /var/lib/extensions/agent "/var/lib/extensions.d/agent/agent-1-$architecture"
expect 'merged extensions' agent "$(merged sysext)"
eventually 5 'the service' 1 cat /run/agent.version

say 'the unit whose program has changed is restarted'
archive 2 "$(serving 2)"
run 0 update -C agent
expect_link /var/lib/extensions/agent "/var/lib/extensions.d/agent/agent-2-$architecture"
eventually 5 'the service' 2 cat /run/agent.version

say 'a version that fails goes back'
archive 3 'exit 1'
run 3 update -C agent
expect_link /var/lib/extensions/agent "/var/lib/extensions.d/agent/agent-2-$architecture"
eventually 5 'the service' active systemctl is-active agent.service
expect 'merged extensions' agent "$(merged sysext)"

say 'and a good one is taken, the oldest goes'
archive 4 "$(serving 4)"
run 0 update -C agent
expect_link /var/lib/extensions/agent "/var/lib/extensions.d/agent/agent-4-$architecture"
eventually 5 'the service' 4 cat /run/agent.version
[[ ! -e /var/lib/extensions.d/agent/agent-1-$architecture ]] || fail 'the oldest version is still there'

say 'one that must not be changed any more goes back all the same'
sed -i 's/^instances_max = 2$/&\nread_only = true/' /etc/sysupdate/transfer.d/agent.toml
archive 5 "$(serving 5)"
run 0 update -C agent
if touch "/var/lib/extensions.d/agent/agent-5-$architecture/new" 2>/dev/null; then fail 'the tree can be changed'; fi
archive 6 'exit 1'
run 3 update -C agent
expect_link /var/lib/extensions/agent "/var/lib/extensions.d/agent/agent-5-$architecture"
eventually 5 'the service' active systemctl is-active agent.service
expect_no_trial
run 0 remove --yes agent
expect 'merged extensions' '' "$(merged sysext)"
[[ ! -e /var/lib/extensions.d/agent ]] || fail 'something is left'

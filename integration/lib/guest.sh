# shellcheck disable=SC2034 # the cases read what `run` and `finished` set
# What the cases share. Sourced inside the booted system, by bash, as root. A case is a script that ends with 0 or prints
# what it expected and what it found.
set -euo pipefail
shopt -s inherit_errexit

stdout='' stderr='' status=0 started=''
readonly www=/srv/www work=/run/case
architecture=$(uname -m | sed 's/_/-/; s/aarch64/arm64/')
readonly architecture
mkdir -p "$www" "$work"

# ---- assertions ----

say() { printf '# %s\n' "$*"; }

# Ends the case, with the last call of the program as evidence.
fail() {
    printf 'FAILED: %s\n' "$*"
    printf '  at %s\n' "${BASH_SOURCE[-1]##*/}:${BASH_LINENO[-2]}"
    if [[ -e $work/call ]]; then
        printf '  last call: %s\n' "$(<"$work/call")"
        sed 's/^/    stdout: /' "$work/stdout"
        sed 's/^/    stderr: /' "$work/stderr"
    fi
    printf '  end of the journal:\n'
    journalctl --quiet --no-pager --output=short-monotonic --lines=25 | sed 's/^/    /'
    exit 1
}
trap 'fail "a command of the case itself failed: $BASH_COMMAND"' ERR

# expect WHAT EXPECTED FOUND
expect() { [[ $2 == "$3" ]] || fail "$1: expected '$2', found '$3'"; }

# expect_match WHAT REGEX FOUND; case does not matter
expect_match() { grep -qiE -e "$2" <<<"$3" || fail "$1: expected something that matches /$2/, found '$3'"; }

# expect_link LINK FILE: the link stands and resolves to FILE
expect_link() {
    [[ -L $1 ]] || fail "expected a symlink at '$1', found $(stat -c %F "$1" 2>/dev/null || echo nothing)"
    expect "target of '$1'" "$2" "$(readlink -f "$1")"
}

# expect_files WHAT DIRECTORY NAME…: the directory holds exactly these names, hidden ones included
expect_files() {
    local what=$1 directory=$2; shift 2
    expect "$what" "$(printf '%s\n' "$@" | sort)" "$(find "$directory" -mindepth 1 -printf '%P\n' | sort)"
}

# eventually SECONDS WHAT EXPECTED COMMAND…: the command prints EXPECTED before the time is over
eventually() {
    local end=$((SECONDS + $1)) what=$2 expected=$3 found; shift 3
    while found=$("$@" 2>/dev/null) || true; [[ $found != "$expected" ]]; do
        ((SECONDS < end)) || fail "$what: expected '$expected', still found '$found'"
        sleep 0.1
    done
}

# journal REGEX ARGUMENT…: leaves in $journal what journalctl shows, once a line of it matches; case does not matter.
# What a unit has written is there a moment after the unit has ended.
journal() {
    local regex=$1 end=$((SECONDS + 10)); shift
    while journal=$(journalctl --quiet "$@"); ! grep -qiE -e "$regex" <<<"$journal"; do
        ((SECONDS < end)) || fail "journalctl $*: expected a line that matches /$regex/, found '$journal'"
        sleep 0.1
    done
}

# run STATUS ARGUMENT…: calls the program; leaves its output in $stdout and $stderr
run() {
    local expected=$1 status=0; shift
    printf 'sysupdate %s\n' "$*" >"$work/call"
    timeout -k 5 100 sysupdate "$@" >"$work/stdout" 2>"$work/stderr" </dev/null || status=$?
    stdout=$(<"$work/stdout") stderr=$(<"$work/stderr")
    printf '$ sysupdate %s → %s\n' "$*" "$status"
    expect "exit status of 'sysupdate $*'" "$expected" "$status"
}

# start ARGUMENT…: runs the program in the background with the default Ctrl-C, which a shell without job control takes away;
# its process id is left in $started
start() {
    printf 'sysupdate %s &\n' "$*" >"$work/call"
    env --default-signal=INT sysupdate "$@" >"$work/stdout" 2>"$work/stderr" </dev/null &
    started=$!
}

# killed SIGNAL: ends what `start` started, and leaves its exit status in $status
killed() {
    kill -s "$1" "$started"
    finished 60
}

# finished SECONDS: waits for what `start` started; leaves its exit status in $status, its output in $stdout and $stderr
finished() {
    timeout "$1" tail --pid="$started" --sleep-interval=0.1 -f /dev/null || fail "process $started still runs after $1 s"
    status=0
    wait "$started" || status=$?
    stdout=$(<"$work/stdout") stderr=$(<"$work/stderr")
}

# ---- the server ----

# Serves /srv/www on loopback; every request is a line `METHOD PATH STATUS BYTES` in the log.
start_server() {
    [[ -e /etc/nginx/rate ]] || server_rate 0
    cat >/etc/nginx/nginx.conf <<'END'
user root;
pid /run/nginx.pid;
worker_processes 1;
error_log /var/log/nginx/error.log;
events {}
http {
    log_format short '$request_method $uri $status $body_bytes_sent';
    access_log /var/log/nginx/access.log short;
    include /etc/nginx/rate;
    server { listen 127.0.0.1:80; root /srv/www; }
}
END
    systemctl start nginx.service
}

stop_server() { systemctl stop nginx.service; }

# server_rate BYTES: per second and connection, for new connections; 0 is no limit
server_rate() {
    printf 'limit_rate %s;\n' "$1" >/etc/nginx/rate
    if systemctl --quiet is-active nginx.service; then systemctl reload nginx.service; sleep 0.5; fi
}

# publish NAME: writes the manifest of /srv/www/NAME over what lies there
publish() { (cd "$www/$1" && sha256sum -- *.raw >.new && mv .new SHA256SUMS); }

# ---- images ----

# The fields of the next extension's release file besides the architecture.
release=(ID=_any)

# extension NAME VERSION [PADDING]: puts an image into /srv/www/NAME that brings NAME.service, which is upheld by multi-user.target
# and says in /run/NAME.version what it is; PADDING is so many MiB of noise
extension() {
    local name=$1 version=$2 tree
    tree=$(mktemp -d)
    mkdir -p "$tree"/usr/{bin,share/"$name",lib/extension-release.d,lib/systemd/system/multi-user.target.d}
    printf '%s\n' "${release[@]}" "ARCHITECTURE=$architecture" >"$tree/usr/lib/extension-release.d/extension-release.$name"
    printf '#!/bin/sh\nprintf %s >/run/%s.version\nexec sleep infinity\n' "$version" "$name" >"$tree/usr/bin/$name"
    printf '[Service]\nExecStart=/usr/bin/%s\nExecStopPost=/bin/rm -f /run/%s.version\n' "$name" "$name" >"$tree/usr/lib/systemd/system/$name.service"
    printf '[Unit]\nUpholds=%s.service\n' "$name" >"$tree/usr/lib/systemd/system/multi-user.target.d/10-$name.conf"
    head -c "${3:-0}M" /dev/urandom >"$tree/usr/share/$name/padding"
    chmod -R go=u-w "$tree"
    chmod 0755 "$tree/usr/bin/$name"
    image "$tree" "$name" "$version"
}

# crashing_extension NAME VERSION SECONDS: the same, but its service fails after so many seconds
crashing_extension() {
    local name=$1 version=$2 tree
    tree=$(mktemp -d)
    mkdir -p "$tree"/usr/{bin,lib/extension-release.d,lib/systemd/system/multi-user.target.d}
    printf '%s\n' "${release[@]}" "ARCHITECTURE=$architecture" >"$tree/usr/lib/extension-release.d/extension-release.$name"
    printf '#!/bin/sh\nsleep %s\necho "this version is broken" >&2\nexit 7\n' "$3" >"$tree/usr/bin/$name"
    printf '[Service]\nExecStart=/usr/bin/%s\n' "$name" >"$tree/usr/lib/systemd/system/$name.service"
    printf '[Unit]\nUpholds=%s.service\n' "$name" >"$tree/usr/lib/systemd/system/multi-user.target.d/10-$name.conf"
    chmod -R go=u-w "$tree"
    chmod 0755 "$tree/usr/bin/$name"
    image "$tree" "$name" "$version"
}

# image TREE NAME VERSION: packs the tree for publication and removes it
image() {
    mkdir -p "$www/$2"
    mksquashfs "$1" "$www/$2/$2-$3-$architecture.raw" -quiet -no-progress -noappend -all-root
    rm -rf "$1"
}

# image_name NAME VERSION
image_name() { printf '%s-%s-%s.raw\n' "$1" "$2" "$architecture"; }

# ---- definitions ----

# define NAME: a native definition from standard input
define() { mkdir -p /etc/sysupdate/transfer.d; cat >"/etc/sysupdate/transfer.d/$1.toml"; }

# define_transfer NAME: one in systemd's syntax
define_transfer() { mkdir -p /etc/sysupdate.d; cat >"/etc/sysupdate.d/$1.transfer"; }

# ---- the trial ----

# trial_phase: how far the trial on record has come; nothing when there is none
trial_phase() { jq -r .phase /var/lib/sysupdate/trial/record.json 2>/dev/null; }

# expect_no_trial: no record is left
expect_no_trial() { [[ ! -e /var/lib/sysupdate/trial/record.json ]] || fail "a trial is still on record, in the phase '$(trial_phase)'"; }

# ---- the system ----

# version_running NAME: what the service says that it is, while it runs
version_running() { systemctl --quiet is-active "$1.service" && cat "/run/$1.version"; }

main_pid() { systemctl show --value --property=MainPID "$1.service"; }

# merged sysext|confext: the merged extensions, one a line
merged() { "systemd-$1" status --json=short | jq -r '.[].extensions | if type == "array" then .[] else empty end'; }

# own_loop_devices FILE: how many are over files of the file system that FILE lies on; all of the host are shown here
own_loop_devices() { losetup --noheadings --list --raw --output=BACK-MAJ:MIN | grep -cx "$(stat -c '%Hd:%Ld' "$1")" || true; }

# last_activation UNIT: changes whenever the unit is started again
last_activation() { systemctl show --value --property=ExecMainStartTimestampMonotonic "$1"; }

# SIGKILL in each phase of a trial: the next run, or `settle`, ends it. A good version stands, a bad one gives way to the old.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"

[check]
units = ["hello.service"]
settle = "3s"
END
# A merge and a start that last as long as the case wants them to.
hold_in() {
    mkdir -p "/etc/systemd/system/$1.service.d"
    printf '[Service]\nExecStartPre=/bin/sh -c "while [ -e /run/hold-%s ]; do touch /run/held-%s; sleep 0.1; done; rm -f /run/held-%s"\n' "$1" "$1" "$1" \
        >"/etc/systemd/system/$1.service.d/hold.conf"
}
hold_in systemd-sysext
hold_in hello
systemctl daemon-reload

directory=/var/lib/extensions.d/hello
standing=1 newest=1
extension hello 1
publish hello
start_server
run 0 update -A
eventually 10 'version of the running service' 1 version_running hello

held() { eventually 30 "a start of $1.service that waits" yes bash -c "[[ -e /run/held-$1 ]] && echo yes"; }

# new KIND: publishes the next version
new() {
    newest=$((newest + 1))
    case $1 in
        good) extension hello "$newest" ;;
        bad) crashing_extension hello "$newest" 2 ;;
    esac
    publish hello
}

# ends KIND ARGUMENT…: the program, called like this, ends the trial of the newest version
ends() {
    local kind=$1; shift
    if [[ $kind == good ]]; then
        run 0 "$@"
        standing=$newest
    else
        run 3 "$@"
        expect_match 'the status' "$newest is bad" "$(sysupdate status)"
    fi
    expect_no_trial
    expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello "$standing")"
    eventually 10 'version of the running service' "$standing" version_running hello
    expect 'merged extensions' hello "$(merged sysext)"
    # And it is over: nothing more is to be done.
    local pid
    pid=$(main_pid hello)
    run 0 update -A
    expect 'process of the service' "$pid" "$(main_pid hello)"
}

in_switching() {
    local try
    # The window is some milliseconds long: whoever misses it begins anew.
    for try in {1..20}; do
        new "$1"
        start update -A
        until [[ -e /var/lib/sysupdate/trial/record.json ]]; do kill -0 "$started" 2>/dev/null || fail 'the run ended without a trial'; done
        killed KILL
        [[ $(trial_phase) != switching ]] || return 0
        # A run of the other kind may have been stopped anywhere.
        sysupdate settle >/dev/null 2>&1 || [[ $? -eq 3 ]]
        if [[ $(readlink -f /var/lib/extensions/hello.raw) == "$directory/$(image_name hello "$newest")" ]]; then standing=$newest; fi
    done
    fail "no run was stopped while it was switching, in $try attempts"
}

in_merging() {
    new "$1"
    touch /run/hold-systemd-sysext
    start update -A
    held systemd-sysext
    killed KILL
    expect 'the phase' activating "$(trial_phase)"
    rm /run/hold-systemd-sysext
}

in_restarting() {
    new "$1"
    touch /run/hold-hello
    start update -A
    held hello
    expect 'the phase' activating "$(trial_phase)"
    killed KILL
    rm /run/hold-hello
}

in_watching() {
    new "$1"
    start update -A
    eventually 30 'the phase' checking trial_phase
    killed KILL
}

in_reverting() {
    new "$1"
    start update -A
    eventually 30 'the phase' checking trial_phase
    touch /run/hold-systemd-sysext
    held systemd-sysext
    expect 'the phase' reverting "$(trial_phase)"
    killed KILL
    rm /run/hold-systemd-sysext
}

for place in switching merging restarting watching; do
    for kind in good bad; do
        say "killed while $place, a $kind version"
        "in_$place" "$kind"
        expect 'exit status' 137 "$status"
        # Each of the two ways meets each of the two kinds.
        case $place:$kind in
            switching:good|merging:bad|restarting:good|watching:bad) ends "$kind" update -A ;;
            *) ends "$kind" settle ;;
        esac
    done
done
for way in 'update -A' settle; do
    say "killed while reverting, then $way"
    in_reverting bad
    # shellcheck disable=SC2086 # two words
    ends bad $way
done

say 'Ctrl-C while the health is watched: back to the old version'
new good
start update -A
eventually 30 'the phase' checking trial_phase
killed INT
expect 'exit status' 3 "$status"
expect_match 'the message' 'interrupted' "$stderr"
expect_no_trial
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello "$standing")"
eventually 10 'version of the running service' "$standing" version_running hello
expect_match 'the history' "reverted +$newest +$standing" "$(sysupdate history)"

say 'asked for by name it gets another trial'
run 0 update "$newest" -C hello
eventually 10 'version of the running service' "$newest" version_running hello

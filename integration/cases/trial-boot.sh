# A reboot in the middle of a trial: a good version stands afterwards, a bad one goes back, one that never proves itself too.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

directory=/var/lib/extensions.d/hello
boot=$(</var/lib/case-boot)

definition() {
    define hello <<END
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"

[activate]
mode = "$1"

[check]
units = ["hello.service"]
settle = "4s"
END
}

next_boot() {
    sync
    exit 77
}

# stands VERSION: it is linked, merged and running, and nothing is on trial
stands() {
    expect_no_trial
    expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello "$1")"
    expect 'merged extensions' hello "$(merged sysext)"
    eventually 10 'version of the running service' "$1" version_running hello
}

is_bad() { expect_match 'the status' "$1 is bad" "$(sysupdate status)"; }

# stopped_while_watched: begins an update and stops it, as a power cut does
stopped_while_watched() {
    start update -A
    eventually 30 'the phase' checking trial_phase
    killed KILL
    expect 'the phase' checking "$(trial_phase)"
}

say "boot $boot"
# The first versions need our help to start what a boot has merged; of the others a boot takes care itself.
((boot < 3)) || release+=(EXTENSION_RELOAD_MANAGER=1)
start_server
case $boot in
    1)
        cp /srv/units/sysupdate-{select,settle}.service /etc/systemd/system/
        systemctl daemon-reload
        systemctl enable --quiet sysupdate-select.service sysupdate-settle.service systemd-sysext.service
        definition auto
        extension hello 1
        publish hello
        run 0 update -A
        eventually 10 'version of the running service' 1 version_running hello
        say 'a good version is interrupted'
        extension hello 2
        publish hello
        stopped_while_watched
        next_boot
        ;;
    2)
        say 'it runs, and has been settled'
        stands 2
        expect_match 'the history' 'installed +1 +2' "$(sysupdate history)"
        expect 'result of the early unit' success "$(systemctl show --value --property=Result sysupdate-select.service)"
        say 'a bad version is interrupted'
        crashing_extension hello 3 3
        publish hello
        stopped_while_watched
        next_boot
        ;;
    3)
        say 'it has gone back'
        stands 2
        is_bad 3
        expect_match 'the history' 'reverted +3 +2' "$(sysupdate history)"
        say 'a good version is staged'
        definition stage
        extension hello 4
        publish hello
        run 0 update -A
        expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 4)"
        eventually 10 'version of the running service' 2 version_running hello
        expect 'the phase' staged "$(trial_phase)"
        expect_match 'the status' '4 takes effect at the next boot' "$(sysupdate status)"
        say 'neither a run nor the end of the boot touches what waits'
        run 0 update -A
        run 0 settle
        expect 'the phase' staged "$(trial_phase)"
        eventually 10 'version of the running service' 2 version_running hello
        next_boot
        ;;
    4)
        say 'the boot has merged it'
        stands 4
        expect_match 'the history' 'installed +2 +4' "$(sysupdate history)"
        say 'a bad version is staged'
        crashing_extension hello 5 1
        publish hello
        run 0 update -A
        expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 5)"
        next_boot
        ;;
    5)
        say 'it has gone back'
        stands 4
        is_bad 5
        say 'a version that no boot ever confirms'
        definition auto
        extension hello 6
        publish hello
        stopped_while_watched
        systemctl disable --quiet sysupdate-settle.service
        next_boot
        ;;
    6 | 7)
        say 'it is still on trial'
        expect 'the phase' checking "$(trial_phase)"
        eventually 10 'version of the running service' 6 version_running hello
        next_boot
        ;;
    8)
        say 'two boots have not confirmed it: the old one is merged by the third'
        stands 4
        is_bad 6
        expect_match 'the history' 'reverted +6 +4' "$(sysupdate history)"
        run 0 update -A
        stands 4
        say 'stopped between the record and the link'
        systemctl enable --quiet sysupdate-settle.service
        extension hello 7
        publish hello
        start update -A
        until [[ -e /var/lib/sysupdate/trial/record.json ]]; do kill -0 "$started" 2>/dev/null || fail 'the run ended without a trial'; done
        killed KILL
        next_boot
        ;;
    9)
        stands 7
        say 'stopped on the way back'
        crashing_extension hello 8 1
        publish hello
        start update -A
        eventually 30 'the phase' reverting trial_phase
        killed KILL
        next_boot
        ;;
    10)
        stands 7
        is_bad 8
        say 'an orderly shutdown while a run of the timer is watching'
        extension hello 9
        publish hello
        systemd-run --quiet --collect --unit=update sysupdate update -A
        eventually 30 'the phase' checking trial_phase
        next_boot
        ;;
    11)
        stands 9
        run 0 update -A
        stands 9
        ;;
    *) fail "boot $boot is one too many" ;;
esac

# The activation modes that leave the running system as it is.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

start_server
for entry in quiet:stage kernel:reboot; do
    name=${entry%:*}
    define "$name" <<END
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/$name"

[activate]
mode = "${entry#*:}"
END
    extension "$name" 1
    publish "$name"
done

say 'stage: the link stands, nothing is merged before the next boot'
run 0 update -C quiet
expect_link /var/lib/extensions/quiet.raw "/var/lib/extensions.d/quiet/$(image_name quiet 1)"
expect 'merged extensions' '' "$(merged sysext)"
if [[ -e /run/reboot-required ]]; then fail 'staging asks for a reboot'; fi

say 'reboot: the same, and the reboot is asked for'
run 0 update -C kernel
expect_link /var/lib/extensions/kernel.raw "/var/lib/extensions.d/kernel/$(image_name kernel 1)"
expect 'merged extensions' '' "$(merged sysext)"
[[ -s /run/reboot-required ]] || fail "expected a reason in /run/reboot-required, found $(stat -c '%F' /run/reboot-required 2>/dev/null || echo nothing)"
expect_match 'the reason' 'kernel' "$(</run/reboot-required)"

say 'what a boot does merges both'
systemctl restart systemd-sysext.service
expect 'merged extensions' $'kernel\nquiet' "$(merged sysext | sort)"

say 'a run with nothing to do asks for nothing'
rm /run/reboot-required
run 0 update -A
if [[ -e /run/reboot-required ]]; then fail 'a run without a change asks for a reboot'; fi

say 'what has proved itself stays, however often something is staged over it'
run 0 activate
expect_no_trial
for version in 2 3 4; do
    extension quiet "$version"
    publish quiet
    run 0 -m 2 update -C quiet
    run 0 -m 2 update -C quiet
    run 0 -m 2 vacuum -C quiet
done
expect_link /var/lib/extensions/quiet.raw "/var/lib/extensions.d/quiet/$(image_name quiet 4)"
[[ -e /var/lib/extensions.d/quiet/$(image_name quiet 1) ]] || fail 'the version that runs is gone'
expect 'the way back' 1 "$(jq -r '.members[].previous' /var/lib/sysupdate/trial/record.json)"

say 'an initrd gets files only'
define early <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/early"
END
extension early 1
publish early
touch /etc/initrd-release
run 0 update -C early
expect_link /var/lib/extensions/early.raw "/var/lib/extensions.d/early/$(image_name early 1)"
expect 'merged extensions' $'kernel\nquiet' "$(merged sysext | sort)"
rm /etc/initrd-release

say 'an extension that is linked and not merged is worth a look, unless it waits for a boot'
run 1 status
expect_match 'the status' 'early .*not merged: restart systemd-sysext.service' "$stdout"
systemctl restart systemd-sysext.service
expect 'merged extensions' $'early\nkernel\nquiet' "$(merged sysext | sort)"
run 0 status
systemctl stop systemd-sysext.service
run 0 status -C quiet
run 1 status -C early

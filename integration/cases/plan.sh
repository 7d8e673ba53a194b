# plan says what update would do; apply does exactly that, or says what has changed.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

define hello <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/hello"

[target]
instances_max = 2
END
directory=/var/lib/extensions.d/hello
saved=$work/p.json
extension hello 1
publish hello
start_server

# state: everything a plan must not touch; what a source has shown is remembered by every look at it
state() { find /var/lib/extensions /var/lib/extensions.d /var/lib/sysupdate/{chosen,marks,trial} -printf '%p %T@ %l\n' 2>/dev/null | sort || true; }

save_plan() {
    run 0 plan -A --json=short
    printf '%s\n' "$stdout" >"$saved"
}

# refused WHAT REGEX: the saved plan is refused for this reason, and nothing has happened
refused() {
    local before after
    before=$(state)
    run 1 apply "$saved"
    expect_match "$1" "$2" "$stderr"
    after=$(state)
    expect 'the state' "$before" "$after"
    eventually 10 'version of the running service' "$3" version_running hello
}

say 'the first version'
before=$(state)
run 0 plan -A
expect_match 'the plan' 'hello .* 1 ' "$stdout"
expect_match 'the activation' 'merge sysext' "$stdout"
expect_match 'the part' "fetch http://127.0.0.1/hello/$(image_name hello 1)" "$stdout"
expect_match 'the link' 'link /var/lib/extensions/hello.raw' "$stdout"
save_plan
expect 'the state' "$before" "$(state)"
expect 'the digest' "$(sha256sum <"$www/hello/$(image_name hello 1)" | cut -d' ' -f1)" "$(jq -r '.components[0].parts[0].sha256' "$saved")"
expect 'the bytes' "$(stat -c %s "$www/hello/$(image_name hello 1)")" "$(jq -r '.components[0].fetch' "$saved")"
run 0 apply "$saved"
eventually 10 'version of the running service' 1 version_running hello
expect_link /var/lib/extensions/hello.raw "$directory/$(image_name hello 1)"

say 'done is done'
refused 'the message' 'hello does not hold any more: the version in use was none and is 1' 1
run 0 plan -A
expect_match 'the plan' 'No update needed' "$stdout"
save_plan
run 0 apply "$saved"
expect_match 'the message' 'nothing to do' "$stderr"

say 'the units that are touched are told beforehand, also of an image that is still at its source'
extension hello 2
publish hello
run 0 plan -C hello
expect_match 'the units' 'restart hello.service \(.*changed' "$stdout"
run 0 acquire -C hello
run 0 plan -C hello
expect_match 'the units' 'restart hello.service' "$stdout"
expect_match 'the part' 'install' "$stdout"
save_plan
expect 'the forecast' 'restart hello.service' "$(jq -r '.components[0].activation.units[] | "\(.verb) \(.unit)"' "$saved")"
expect 'the bytes' 0 "$(jq -r '.components[0].fetch' "$saved")"
pid=$(main_pid hello)
run 0 apply "$saved"
eventually 10 'version of the running service' 2 version_running hello
[[ $(main_pid hello) != "$pid" ]] || fail 'the unit was not restarted'

say 'other bytes under the same name'
extension hello 3
publish hello
save_plan
extension hello 3 1
publish hello
refused 'the message' 'accept-manifest' 2
run 0 check-new -C hello --accept-manifest
refused 'the message' 'digest.* was [0-9a-f]{64} and is [0-9a-f]{64}' 2
save_plan

say 'a newer version in between is no reason to refuse what was planned'
extension hello 4
publish hello
run 0 plan -C hello
expect_match 'the plan' 'hello .* 4 ' "$stdout"
run 0 apply "$saved"
eventually 10 'version of the running service' 3 version_running hello
expect_files 'installed images' "$directory" "$(image_name hello 2)" "$(image_name hello 3)"

say 'another version in use'
save_plan
expect 'the planned version' 4 "$(jq -r '.components[0].version' "$saved")"
run 0 rollback -C hello
refused 'the message' 'in use was 3 and is 2' 2
run 0 unhold -C hello
run 0 update 3 -C hello
eventually 10 'version of the running service' 3 version_running hello

say 'a hold'
save_plan
expect 'the planned version' 4 "$(jq -r '.components[0].version' "$saved")"
run 0 hold -C hello
refused 'the message' 'held' 3
run 0 unhold -C hello

say 'the version is gone'
mv "$www/hello/$(image_name hello 4)" "$www"
publish hello
refused 'the message' '4' 3
mv "$www/$(image_name hello 4)" "$www/hello"
publish hello

say 'no plan at all'
echo '{' >"$work/broken.json"
run 1 apply "$work/broken.json"
expect_match 'the message' 'no plan' "$stderr"
run 1 apply "$work/missing.json"
expect_match 'the message' 'missing.json' "$stderr"

say 'and after all that the plan still holds'
run 0 apply "$saved"
eventually 10 'version of the running service' 4 version_running hello
expect_files 'installed images' "$directory" "$(image_name hello 3)" "$(image_name hello 4)"

say 'of several components, one that has changed keeps all from being begun'
define other <<'END'
[transfer]
verify = "none"

[source]
url = "http://127.0.0.1/other"
END
extension other 1
publish other
extension hello 5
publish hello
save_plan
extension other 1 1
publish other
run 0 check-new -C other --accept-manifest
refused 'the message' 'other' 4
[[ ! -e /var/lib/extensions/other.raw ]] || fail 'a component that has changed was installed'

# Our verdict about an extension is that of systemd-sysext and systemd-confext: hosts × extensions, each judged by both.
# shellcheck source=../lib/guest.sh
. /srv/integration/lib/guest.sh

[[ -x /usr/local/bin/look ]] || fail "the example 'look' is not installed"
other=arm64
[[ $architecture == arm64 ]] && other=x86-64
readonly other batch=60
hosts=() extensions=() judged=0

# The values of one field that are tried, `-` for none.
generate() {
    local id version level scope arch
    hosts=(
        'ID=flatcar' 'ID=flatcar,VERSION_ID=1' 'ID=flatcar,VERSION_ID=1,SYSEXT_LEVEL=7,CONFEXT_LEVEL=7' 'ID=flatcar,SYSEXT_LEVEL=7,CONFEXT_LEVEL=7'
        'ID=flatcar,ID_LIKE="coreos gentoo",VERSION_ID=1' 'ID="flatcar",VERSION_ID="1"' 'VERSION_ID=1' 'ID=linux' 'ID=,VERSION_ID=1'
        'ID=flatcar,VERSION_ID=' 'ID=flatcar,VERSION_ID=1,SYSEXT_LEVEL=,CONFEXT_LEVEL=' 'ID=_any,VERSION_ID=1' 'ID=flatcar,VERSION_ID=1,ARCHITECTURE='"$other"
        'ID=flatcar,ID_LIKE=coreos' 'ID=flatcar,ID_LIKE="gentoo coreos",VERSION_ID=1,SYSEXT_LEVEL=7,CONFEXT_LEVEL=7' 'ID=fedora,ID_LIKE=_any,VERSION_ID=1'
    )
    for id in - ID= ID=flatcar ID=fedora ID=_any ID=coreos ID=linux 'ID="flatcar"'; do
        for version in - VERSION_ID= VERSION_ID=1 VERSION_ID=2; do
            for level in - LEVEL= LEVEL=7 LEVEL=8; do
                extensions+=("$id,$version,$level")
            done
        done
    done
    for id in ID=_any ID=flatcar,VERSION_ID=1; do
        for arch in - ARCHITECTURE= "ARCHITECTURE=$architecture" "ARCHITECTURE=$other" ARCHITECTURE=_any ARCHITECTURE=junk ARCHITECTURE=x86; do
            for scope in - SCOPE= SCOPE=system SCOPE=portable SCOPE=initrd 'SCOPE="initrd portable"' 'SCOPE="initrd system"' SCOPE=junk 'SCOPE="system junk"' 'SCOPE="system,portable"'; do
                extensions+=("$id,$arch,$scope")
            done
        done
    done
    extensions+=('' 'ID=_any,ID_LIKE=flatcar' 'ID=fedora,ID_LIKE=flatcar,VERSION_ID=1' 'ID=flatcar,VERSION_ID=1,OTHER_LEVEL=8' 'ID=flatcar,VERSION_ID=1,OTHER_SCOPE=initrd')
}

# fields SPECIFICATION KIND: one a line; LEVEL and SCOPE are those of the kind, OTHER_… those of the other one
fields() {
    local mine=SYSEXT theirs=CONFEXT field
    [[ $2 == confext ]] && mine=CONFEXT theirs=SYSEXT
    tr ',' '\n' <<<"${1//system,portable/system;portable}" | while IFS= read -r field; do
        case $field in
            -|'') ;;
            LEVEL=*|SCOPE=*) printf '%s_%s\n' "$mine" "$field" ;;
            OTHER_*) printf '%s_%s\n' "$theirs" "${field#OTHER_}" ;;
            *) printf '%s\n' "$field" ;;
        esac
    done
}

# compare KIND HOST FIRST: one merge of the extensions from FIRST on
compare() {
    local kind=$1 host=$2 first=$3 top=/run/extensions below=usr/lib name number theirs ours problem
    [[ $kind == confext ]] && top=/run/confexts below=etc
    rm -rf "$top"
    for ((number = first; number < first + batch && number < ${#extensions[@]}; number++)); do
        name=e$number
        mkdir -p "$top/$name/$below/extension-release.d"
        fields "${extensions[number]}" "$kind" >"$top/$name/$below/extension-release.d/extension-release.$name"
    done
    problem=$("systemd-$kind" merge 2>&1) || problem="$problem (exit status $?)"
    theirs=$(merged "$kind" | sort -V)
    "systemd-$kind" unmerge >/dev/null 2>&1
    names=() releases=()
    for ((number = first; number < first + batch && number < ${#extensions[@]}; number++)); do
        names+=("e$number")
        releases+=("$top/e$number/$below/extension-release.d/extension-release.e$number")
    done
    ours=$(paste -d ' ' <(look judge "$kind" /etc/os-release "$architecture" "${releases[@]}") <(printf '%s\n' "${names[@]}") | sed -n 's/^fits e/e/p')
    judged=$((judged + number - first))
    if [[ $theirs != "$ours" ]]; then
        diff <(printf '%s\n' "$theirs") <(printf '%s\n' "$ours") | sed -n 's/^\([<>]\) e/\1 /p' | while read -r side number; do
            printf '%s, host %s, extension %s: %s merge it\n' "$kind" "$host" "${extensions[number]}" "$([[ $side == '<' ]] && echo 'only they' || echo 'only we')"
        done
        printf '  %s\n' "$problem" | head -3
        return 1
    fi
}

generate
wrong=0
for kind in sysext confext; do
    for host in "${hosts[@]}"; do
        # A file of its own: usually it is a link into /usr.
        rm -f /etc/os-release
        fields "$host" "$kind" | sed "s/^LEVEL/${kind^^}_LEVEL/" >/etc/os-release
        for ((first = 0; first < ${#extensions[@]}; first += batch)); do
            compare "$kind" "$host" "$first" || wrong=$((wrong + 1))
        done
    done
done

say 'a release file of another name does not count, and one is needed'
printf 'ID=flatcar\nVERSION_ID=1\n' >/etc/os-release
rm -rf /run/extensions /run/confexts
mkdir -p /run/extensions/{named,bare,good}/usr/lib/extension-release.d
printf 'ID=_any\n' | tee /run/extensions/named/usr/lib/extension-release.d/extension-release.other \
    >/run/extensions/good/usr/lib/extension-release.d/extension-release.good
systemd-sysext merge >/dev/null 2>&1 || true
expect 'merged extensions' good "$(merged sysext)"
systemd-sysext unmerge

say "$judged verdicts compared with $(systemctl --version | head -n 1)"
expect 'merges that went another way' 0 "$wrong"
[[ $judged -gt 1000 ]] || fail "only $judged verdicts were compared"

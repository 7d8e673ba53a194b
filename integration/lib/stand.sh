# What a system of lib/guest.py does at each boot: it serves /srv/www, and stands until somebody says how it is to be left. What
# boot makes of the status that is then in /run/leave is written there.
# shellcheck source=guest.sh
. /srv/integration/lib/guest.sh

start_server
touch /run/stands
until [[ -s /run/leave ]]; do sleep 0.05; done
exit "$(</run/leave)"

#!/bin/sh
# Adds the name server of this pod to nginx's configuration and becomes nginx. The pod's own
# /etc/resolv.conf is right everywhere: kube-dns, NodeLocal DNSCache, Cloud DNS, OpenShift.
set -eu
cp "$(dirname "$0")"/*.conf .
server=$(awk '$1 == "nameserver" { print $2; exit }' /etc/resolv.conf)
case $server in
  *:*) server="[$server]" ;;
esac
echo "resolver $server valid=3s;" > resolver.conf
exec nginx -p "$PWD/" -c "$PWD/nginx.conf" -g 'daemon off;'

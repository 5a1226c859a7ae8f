#!/bin/sh
# runc.sh COMMAND...: runs it in a container of runc, as engines start it: a root on overlayfs, runc's own restrictions, and
# a /dev/shm and /run where nothing can be executed. The network is the machine's.
set -eu
place=/run/runc-test
rm -rf $place
mkdir -p $place
mount -t tmpfs none $place
mkdir $place/upper $place/work $place/rootfs
mount -t overlay overlay -o lowerdir=/,upperdir=$place/upper,workdir=$place/work $place/rootfs
cd $place
runc spec
python3 - "$@" <<'PY'
import json, sys
spec = json.load(open('config.json'))
spec['process'].update(terminal=False, args=sys.argv[1:], env=['PATH=/usr/bin:/bin', 'RUST_LOG=info'])
spec['root'] = {'path': 'rootfs', 'readonly': False}
spec['linux']['namespaces'] = [each for each in spec['linux']['namespaces'] if each['type'] != 'network']
spec['mounts'].append({'destination': '/mnt/project', 'type': 'bind', 'source': '/mnt/project', 'options': ['rbind', 'ro']})
json.dump(spec, open('config.json', 'w'))
PY
exec runc run vsock-proxy

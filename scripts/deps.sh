#!/bin/bash
# deps.sh GROUP...: installs the missing system packages of these groups, and prints which. It needs root only for that.
set -euo pipefail

# group, a program or file that shows that it is installed, package of Debian 12, package of Amazon Linux 2023
table='
build  g++                              g++                    gcc-c++
build  /usr/lib/gcc/*/*/libstdc++.a     g++                    libstdc++-static
build  /usr/lib/*/libc.a                libc6-dev              glibc-static
build  strip                            binutils               binutils
cross  aarch64-linux-gnu-g++            g++-aarch64-linux-gnu  -
rpm    rpmbuild                         rpm                    rpm-build
oci    apt-get                          apt                    -
oci    dpkg-deb                         dpkg                   -
lint   clang-format                     clang-format           -
lint   shellcheck                       shellcheck             ShellCheck
fuzz   clang++-14                       clang-14               -
fuzz   /usr/lib/llvm-14/lib/clang/*/lib/linux/libclang_rt.fuzzer-x86_64.a  libclang-rt-14-dev  -
unit   openssl                          openssl                openssl
unit   promtool                         prometheus             -
test   prometheus                       prometheus             -
test   python3                          python3                python3
test   qemu-aarch64                     qemu-user              -
test   openssl                          openssl                openssl
test   ip                               iproute2               iproute
test   unshare                          util-linux             util-linux
test   curl                             curl                   curl-minimal
test   socat                            socat                  socat
test   psql                             postgresql-client      postgresql15
test   tinyproxy                        tinyproxy-bin          -
test   /usr/lib/python3*/*-packages/aiohttp   python3-aiohttp   -
test   /usr/lib/erlang/lib/inets-*       erlang-inets           -
test   /usr/lib/erlang/lib/ssl-*         erlang-ssl             -
test   lftp                             lftp                   -
test   wget                             wget                   -
test   /usr/share/perl5/Mojo/UserAgent.pm  libmojolicious-perl  -
test   /usr/share/perl5/IO/Socket/SSL.pm  libio-socket-ssl-perl  -
test   proxytunnel                      proxytunnel            -
test   wget2                            wget2                  -
test   links                            links                  -
test   php                              php-cli                -
test   aria2c                           aria2                  -
test   git                              git                    git
test   /usr/share/perl5/LWP/Protocol/https.pm  liblwp-protocol-https-perl  -
test   systemd-socket-activate          systemd                systemd
test   /usr/lib/python3*/*-packages/requests  python3-requests  python3-requests
test   /usr/lib/python3*/*-packages/boto3     python3-boto3     python3-boto3
test   javac                            openjdk-17-jdk-headless  java-17-amazon-corretto-headless
test   /usr/lib/python3*/*-packages/dns/resolver.py  python3-dnspython  python3-dns
test   ruby                             ruby                   ruby3.2
test   go                               golang-go              golang
test   rpmlint                          rpmlint                rpmlint
test   mandoc                           mandoc                 mandoc
container  runc                         runc                   -
container  skopeo                       skopeo                 -
container  umoci                        umoci                  -
container  /etc/apparmor.d/tunables/global  apparmor              -
container  secilc                       secilc                 -
container  curl                         curl                   -
container  nsenter                      util-linux             -
container  unzip                        unzip                  -
container  gcc                          gcc                    gcc
e2e    qemu-system-x86_64               qemu-system-x86        -
e2e    mmdebstrap                       mmdebstrap             -
e2e    dpkg-architecture                dpkg-dev               -
e2e    mke2fs                           e2fsprogs              e2fsprogs
e2e    depmod                           kmod                   kmod
e2e    rpmbuild                         rpm                    rpm-build
e2e    ssh                              openssh-client         openssh-clients
e2e    cpio                             cpio                   cpio
e2e    socat                            socat                  socat
e2e    python3                          python3                python3
e2e    gcc                              gcc                    gcc
e2e    /usr/lib/*/libc.a                libc6-dev              glibc-static
e2e    ip                               iproute2               iproute
e2e    unshare                          util-linux             util-linux
platforms  qemu-system-aarch64          qemu-system-arm        -
platforms  qemu-aarch64-static          qemu-user-static       -
platforms  arch-test                    arch-test              -
repo   rpmsign                          rpm                    rpm-sign
repo   createrepo_c                     createrepo-c           createrepo_c
repo   gpg                              gnupg                  gnupg2
ami    packer                           packer                 -
ami    mmdebstrap                       mmdebstrap             -
ami    dpkg-architecture                dpkg-dev               -
ami    unshare                          util-linux             util-linux
ami    ip                               iproute2               iproute
demo   python3                          python3                python3
demo   /usr/lib*/python3*/ssl.py        python3                python3
demo   openssl                          openssl                openssl
demo   ip                               iproute2               iproute
bench  socat                            socat                  socat
bench  haproxy                          haproxy                haproxy
bench  tinyproxy                        tinyproxy-bin          -
bench  squid                            squid                  -
bench  /usr/sbin/nginx                  nginx-light            -
bench  /lib/systemd/systemd-socket-proxyd  systemd             systemd
bench  ip                               iproute2               iproute
bench  unshare                          util-linux             util-linux
'

fail() { echo "deps.sh: $1. Hint: $2" >&2; exit 1; }

if command -v apt-get >/dev/null; then
  column=debian install='apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0'
elif command -v dnf >/dev/null; then
  column=amazon install='dnf install -y'
else
  column=none
fi

# make may ask for two groups at once, and apt-get cannot run twice.
exec 9<"$0"
flock 9

missing=()
while read -r group sign debian amazon; do
  [[ " $* " == *" $group "* ]] || continue
  if [[ $sign == /* ]]; then compgen -G "$sign" >/dev/null; else command -v "$sign" >/dev/null; fi && continue
  [ $column != none ] || fail "$sign is missing" "install it: this script knows Debian's and Amazon Linux's packages only"
  [ "${!column}" != - ] || fail "$sign is missing, and this system has no package of it" "use Debian 12 for this target"
  [[ " ${missing[*]} " == *" ${!column} "* ]] || missing+=("${!column}")
done <<<"$(grep . <<<"$table")"
[ ${#missing[@]} -gt 0 ] || exit 0

[ $column != debian ] || update='apt-get update -qq'
command="${update:+$update && }$install ${missing[*]}"
[ "$(id -u)" = 0 ] || fail "these packages are missing: ${missing[*]}" "run as root: $command"
echo "deps.sh: $command" >&2
export DEBIAN_FRONTEND=noninteractive
eval "$command" >&2

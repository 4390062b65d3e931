#!/usr/bin/env bash
# Runs a static linux/amd64 program, a Go test binary built with CGO_ENABLED=0,
# on an emulated CPU with AVX-512: Bochs 3.0 as a Sapphire Rapids, with a Linux
# kernel of its own. It prints what the program prints and ends with its status.
#
#   run.sh TEST_BINARY [arguments]
#   CGO_ENABLED=0 go test -exec "$PWD/bench/cmd/prove/bochs/run.sh" ./kernels
#   run.sh -prepare          fetches the kernel and builds Bochs, once, into the cache
#
# Variables named FUERTE_… and the folder testdata of the working directory go
# along; nothing comes back but the output. One CPU, no network. `-test.timeout`
# counts the guest's time, which is not the host's.
#
#   BOCHS_CACHE    where kernel and Bochs are kept (${XDG_CACHE_HOME:-~/.cache}/fuerte/bochs)
#   BOCHS_TARBALL  the source of Bochs 3.0, if it should not be fetched
#   BOCHS_VERBOSE  if set, kernel messages and timings on standard error
#
# Status 125: the emulator or the guest failed; 128+N: the program died of signal N.
#
# Bochs 2.7, which Debian 12 packages, computes VGF2P8AFFINEQB wrongly. The garbage
# collector of Go 1.26 uses that instruction, so Go's heap is corrupted: hence 3.0,
# and hence the guest stresses the collector before it starts the program.
set -euo pipefail

here=$(cd "$(dirname "$(readlink -f "$0")")" && pwd)
cache=${BOCHS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/fuerte/bochs}
source=bochs_3.0+dfsg.orig.tar.xz
sha256=78f6c73d4a6472d5130a87ab9dc306d02c7c71ed8e25b3a8ef642e2a7acd282b
isolinux=/usr/lib/ISOLINUX/isolinux.bin
ldlinux=/usr/lib/syslinux/modules/bios/ldlinux.c32
bios=/usr/share/bochs/BIOS-bochs-latest
vgabios=/usr/share/vgabios/vgabios.bin
mib=1024
ips=200000000 # instructions per second of the guest's clock: about what Bochs does on plain code

say() { echo "bochs: $*" >&2; }
die() { say "$*"; exit 125; }

# get_kernel takes Debian's cloud kernel out of its package without installing it.
get_kernel() {
	[ -s "$cache/vmlinuz" ] && return
	local package
	package=$(apt-cache depends linux-image-cloud-amd64 | awk '/Depends: linux-image-/ {print $2; exit}')
	[ -n "$package" ] || die "apt knows no linux-image-cloud-amd64 (apt-get update?)"
	say "fetching $package"
	mkdir "$tmp/kernel"
	(cd "$tmp/kernel" && apt-get download "$package" >log 2>&1 && dpkg-deb -x ./*.deb x) ||
		{ tail -n 3 "$tmp/kernel/log" >&2; die "no kernel"; }
	mv "$tmp"/kernel/x/boot/vmlinuz-* "$cache/vmlinuz"
}

# build_bochs makes Bochs without its debugger, which slows Debian's binary down
# four times. The source comes from Debian 13: its pool keeps what the lists of
# Debian 12 do not name.
build_bochs() {
	[ -x "$cache/bochs-3.0" ] && return
	local mirror
	mkdir "$tmp/build"
	if [ -n "${BOCHS_TARBALL:-}" ]; then
		cp "$BOCHS_TARBALL" "$tmp/build/$source"
	else
		mirror=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI)' | awk '$1 == "Debian" && $2 !~ /-/ {print $3; exit}')
		[ -n "$mirror" ] || die "apt knows no archive of Debian: name the source of Bochs 3.0 in BOCHS_TARBALL"
		say "fetching the source of Bochs 3.0"
		/usr/lib/apt/apt-helper download-file "${mirror}pool/main/b/bochs/$source" \
			"$tmp/build/$source" "SHA256:$sha256" >"$tmp/build/log" 2>&1 || { tail -n 3 "$tmp/build/log" >&2; die "no source of Bochs 3.0"; }
	fi
	(cd "$tmp/build" && echo "$sha256  $source" | sha256sum -c --quiet) || die "this is not the source of Bochs 3.0"
	say "building Bochs 3.0: some minutes, once"
	(cd "$tmp/build" && tar xf "$source" && cd bochs-3.0 && ./configure --enable-cpu-level=6 --enable-x86-64 --enable-fpu \
		--enable-avx --enable-evex --enable-repeat-speedups --enable-fast-function-calls --enable-handlers-chaining \
		--enable-trace-linking --enable-pci --enable-cdrom --enable-protection-keys --enable-monitor-mwait --enable-memtype \
		--disable-debugger --disable-smp --disable-plugins --disable-docbook --disable-stats --disable-xpm --with-nogui \
		CXXFLAGS="-O2 -fno-plt -w" CFLAGS="-O2 -w" && make -j"$(nproc)" bochs) >"$tmp/build/log" 2>&1 ||
		{ tail -n 20 "$tmp/build/log" >&2; die "Bochs 3.0 does not build"; }
	strip -o "$cache/bochs-3.0.new" "$tmp/build/bochs-3.0/bochs"
	mv "$cache/bochs-3.0.new" "$cache/bochs-3.0"
}

[ $# -ge 1 ] || die "usage: run.sh -prepare | run.sh TEST_BINARY [arguments]"
tmp=$(mktemp -d)
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; rm -rf "$tmp"' EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

if [ "$1" = -prepare ]; then
	mkdir -p "$cache"
	exec 9>"$cache/lock"
	flock 9
	get_kernel
	build_bochs
	exit
fi
[ -s "$cache/vmlinuz" ] && [ -x "$cache/bochs-3.0" ] || die "not prepared: go run ./bench/cmd/prove -install -levels avx512"
[ -f "$1" ] || die "no such file: $1"
began=$(date +%s.%N)

# The guest's file system: its process 1, the program, and the job.
root=$tmp/root
mkdir -p "$root"/{proc,sys,dev,tmp,pkg} "$tmp/iso/isolinux"
(cd "$here/guest" && CGO_ENABLED=0 GOOS=linux GOARCH=amd64 go build -trimpath -ldflags='-s -w' -o "$root/init" .) || die "the guest's init does not build"
cp "$1" "$root/test"
chmod +x "$root/test"
shift
[ -d testdata ] && cp -rL testdata "$root/pkg/"
nonce=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
{
	printf '%s\0' "$nonce" /pkg $# "$@"
	for name in "${!FUERTE_@}"; do printf '%s=%s\0' "$name" "${!name}"; done
} >"$root/job"
(cd "$root" && find . | cpio -o -H newc --quiet) >"$tmp/iso/initrd"
cp "$cache/vmlinuz" "$tmp/iso/vmlinuz"
cp "$isolinux" "$ldlinux" "$tmp/iso/isolinux/"

# What the kernel's command line is for:
#  clearcpuid=xsaves,xsavec  Bochs counts the compacted XSAVE area differently from
#                            Linux, which would panic, or turn AVX and AVX-512 off
#  clearcpuid=fsrm no5lvl    without these the boot loops or resets
#  tsc_early_khz             the rate of the emulated time-stamp counter
messages="quiet loglevel=1"
[ -n "${BOCHS_VERBOSE:-}" ] && messages="loglevel=7"
cat >"$tmp/iso/isolinux/isolinux.cfg" <<END
DEFAULT linux
PROMPT 0
LABEL linux
 LINUX /vmlinuz
 INITRD /initrd
 APPEND console=ttyS0,115200 $messages clearcpuid=xsaves,xsavec,pku,fsrm no5lvl tsc=reliable tsc_early_khz=$((ips / 1000)) nokaslr mitigations=off nopti no_timer_check maxcpus=1 nomodule init_on_alloc=0 random.trust_cpu=on cryptomgr.notests audit=0 apparmor=0 rcupdate.rcu_expedited=1 panic=-1 rdinit=/init
END
xorriso -as mkisofs -quiet -o "$tmp/boot.iso" -b isolinux/isolinux.bin -c isolinux/boot.cat -no-emul-boot \
	-boot-load-size 4 -boot-info-table "$tmp/iso" 2>"$tmp/xorriso.log" || { cat "$tmp/xorriso.log" >&2; die "xorriso failed"; }
cat >"$tmp/bochsrc" <<END
config_interface: textconfig
display_library: nogui
cpu: model=sapphire_rapids, count=1, ips=$ips, reset_on_triple_fault=0, ignore_bad_msrs=1
memory: guest=$mib, host=$mib
romimage: file=$bios
vgaromimage: file=$vgabios
ata0-master: type=cdrom, path=$tmp/boot.iso, status=inserted
boot: cdrom
com1: enabled=1, mode=file, dev=$tmp/serial
port_e9_hack: enabled=1
log: $tmp/log
panic: action=fatal
error: action=ignore
info: action=ignore
debug: action=ignore
clock: sync=none
END

# Bochs copies what the guest writes to port 0xE9 to its standard output; the
# guest marks its own lines there with the nonce.
status= begun=
exec 3< <(exec "$cache/bochs-3.0" -q -f "$tmp/bochsrc" 2>"$tmp/stderr" </dev/null)
pid=$!
while IFS= read -r line <&3 || [ -n "$line" ]; do
	case $line in
	"@@$nonce begin "*) begun=$(date +%s.%N) stress=${line##* } ;;
	"@@$nonce exit "*) status=${line##* } && break ;;
	"@@$nonce "*) say "${line#"@@$nonce "}" ;;
	*) [ -n "$begun" ] && printf '%s\n' "$line" ;;
	esac
done
cat <&3 >/dev/null || true
wait "$pid" && rc=0 || rc=$?
pid=
if [ -z "$status" ]; then
	say "the emulator ended (status $rc) without a result"
	[ -s "$tmp/serial" ] && { say "last messages of the kernel:"; tail -n 15 "$tmp/serial" >&2; }
	[ -n "$begun" ] || tail -n 5 "$tmp/log" "$tmp/stderr" >&2 || true
	status=125
fi
if [ -n "${BOCHS_VERBOSE:-}" ]; then
	[ -s "$tmp/serial" ] && cat "$tmp/serial" >&2
	awk -v a="$began" -v b="${begun:-$began}" -v c="$(date +%s.%N)" -v s="${stress:-?}" \
		'BEGIN { printf "bochs: %.1f s until the program began (collector stress %s of the guest), then %.1f s\n", b-a, s, c-b }' >&2
fi
exit "$status"

// Guest is process 1 of the emulated machine of run.sh. It stresses the garbage
// collector, runs /test as /job says, sends what that prints to port 0xE9, which
// Bochs copies to its standard output, and stops the machine. Lines of its own
// begin with the job's nonce.
//
// /job holds NUL-terminated fields: nonce, directory, number of arguments,
// arguments, environment.
package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	portOutput   = 0xe9
	portShutdown = 0x8900
	// emulatorFailed is the status of run.sh for what is no fault of the program.
	emulatorFailed = 125
)

// outs writes n bytes to a port by REP OUTSB.
//
//go:noescape
func outs(port uint16, p *byte, n int)

var (
	nonce string
	last  byte = '\n' // sent
)

func send(b []byte) {
	if len(b) > 0 {
		outs(portOutput, &b[0], len(b))
		last = b[len(b)-1]
	}
}

// mark sends a line to run.sh.
func mark(format string, a ...any) {
	if last != '\n' {
		send([]byte{'\n'})
	}
	send([]byte("@@" + nonce + " " + fmt.Sprintf(format, a...) + "\n"))
}

// off reports a status and stops the machine.
func off(status int) {
	mark("exit %d", status)
	word := []byte("Shutdown")
	outs(portShutdown, &word[0], len(word))
	syscall.Reboot(syscall.LINUX_REBOOT_CMD_POWER_OFF)
	select {}
}

func fail(format string, a ...any) {
	mark("error: "+format, a...)
	off(emulatorFailed)
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "stress" {
		if err := stress(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	runtime.LockOSThread() // the right to use ports belongs to a thread
	if err := syscall.Iopl(3); err != nil {
		fmt.Println("init: iopl:", err) // on the serial console
		syscall.Reboot(syscall.LINUX_REBOOT_CMD_RESTART)
	}
	job, err := os.ReadFile("/job")
	if err != nil {
		fail("%v", err)
	}
	f := strings.Split(strings.TrimSuffix(string(job), "\x00"), "\x00")
	if len(f) < 3 {
		fail("/job has %d fields", len(f))
	}
	nonce = f[0]
	n, err := strconv.Atoi(f[2])
	if err != nil || len(f) < 3+n {
		fail("/job: %d fields, %q arguments", len(f), f[2])
	}
	for _, m := range [][2]string{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}, {"tmpfs", "/tmp"}} {
		if err := syscall.Mount(m[0], m[1], m[0], 0, ""); err != nil {
			fail("mount %s: %v", m[1], err)
		}
	}
	start := time.Now()
	if out, err := exec.Command("/init", "stress").CombinedOutput(); err != nil {
		fail("this emulator corrupts Go's heap: %v\n%s", err, out)
	}
	run(f[1], f[3:3+n], f[3+n:], time.Since(start))
}

// run starts the program, copies its output, and ends the machine with its
// status.
func run(dir string, args, env []string, stressed time.Duration) {
	r, w, err := os.Pipe()
	if err != nil {
		fail("%v", err)
	}
	cmd := exec.Command("/test", args...)
	cmd.Dir, cmd.Env = dir, append([]string{"HOME=/tmp", "TMPDIR=/tmp", "PATH=/"}, env...)
	cmd.Stdout, cmd.Stderr = w, w
	if err := cmd.Start(); err != nil {
		fail("%v (is the program static? CGO_ENABLED=0)", err)
	}
	w.Close()
	mark("begin %v", stressed.Round(time.Millisecond))
	for buf := make([]byte, 32<<10); ; {
		n, err := r.Read(buf)
		send(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			fail("read: %v", err)
		}
	}
	cmd.Wait() // its error is the status
	ws := cmd.ProcessState.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		mark("the program died of signal %v", ws.Signal())
		off(128 + int(ws.Signal()))
	}
	off(ws.ExitStatus())
}

// Command watch starts partlogd for one client, runs the client against it and writes down which requests went over the wire.
//
//	watch -partlogd BINARY -dir DIR -- COMMAND ARG...
//
// The three brokers of partlogd are told to advertise the addresses of proxies in this process; the proxies read the
// header of each request and pass every byte on as it is. In DIR/seen.tsv there is a line for each API and version:
// key, version, how often it was asked and how often answered. TLS listeners are passed through unread.
// A run that fails prints the last requests and answers, and one that takes longer than -limit also where partlogd and, if its language
// can tell, the client are. It ends with status 3 if the client hangs though it has an answer to all that it has sent: that is not
// partlogd's.
// The command finds the addresses and files in its environment: BOOTSTRAP, SASL_BOOTSTRAP (users "alice" by PLAIN and
// "scram" by SCRAM-SHA-256, each with the password "secret"), TLS_BOOTSTRAP with CA_FILE, WORK, a directory, and STORE, the one of the store.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

const brokers = 3

// errSilent is the end of a client that waits for nothing that a broker owes it. Its steps take PATIENCE at most, which is less than silence.
var errSilent = errors.New("the client has been silent for minutes, and has an answer to all that it has sent")

const silence = 5 * time.Minute

func main() {
	binary := flag.String("partlogd", "", "the binary")
	dir := flag.String("dir", "", "a directory of its own for this run")
	limit := flag.Duration("limit", 10*time.Minute, "how long the client may take")
	flag.Parse()
	if *binary == "" || *dir == "" || flag.NArg() == 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	ctx, cancel := context.WithTimeout(ctx, *limit)
	defer cancel()
	if err := run(ctx, *binary, *dir, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "watch:", err)
		cancel()
		stop()
		if errors.Is(err, errSilent) {
			os.Exit(3)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, binary, dir string, command []string) (err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return err
	}
	certs, err := makeCertificates(dir)
	if err != nil {
		return err
	}
	seen := &sightings{counts: map[sighting]*counts{}}
	lately := newTrace()
	var d *daemon
	for try := 1; ; try++ { // a port may be taken between being found free and being listened on
		if d, err = start(ctx, binary, dir, certs, seen, lately); err == nil {
			break
		}
		if try == 5 || ctx.Err() != nil {
			return err
		}
	}
	err = d.drive(ctx, dir, certs, command, lately)
	if err != nil {
		lately.print(os.Stderr)
	}
	if errors.Is(ctx.Err(), context.DeadlineExceeded) { // it hangs: where is partlogd?
		_ = d.cmd.Process.Signal(syscall.SIGQUIT)
	}
	if e := d.stop(); e != nil {
		err = errors.Join(err, fmt.Errorf("partlogd at its end: %w", e))
	}
	if err != nil {
		out, _ := os.ReadFile(filepath.Join(dir, "partlogd.err"))
		lines := strings.Split(string(out), "\n")
		shown := 40
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			shown = 1000
		}
		fmt.Fprintln(os.Stderr, strings.Join(lines[max(0, len(lines)-shown):], "\n"))
		return errors.Join(err, seen.write(filepath.Join(dir, "seen-at-failure.tsv")))
	}
	return seen.write(filepath.Join(dir, "seen.tsv"))
}

// daemon is a running partlogd with the proxies before it.
type daemon struct {
	cmd     *exec.Cmd
	done    chan struct{}
	err     error // of cmd, when done
	proxies map[string][]*proxy
}

var listeners = []string{"PLAINTEXT", "SASL_PLAINTEXT", "SSL"}

// start writes the property files and waits until all of it serves.
func start(ctx context.Context, binary, dir string, certs certificates, seen *sightings, lately *trace) (_ *daemon, err error) {
	d := &daemon{done: make(chan struct{}), proxies: map[string][]*proxy{}}
	defer func() {
		if err != nil {
			d.closeProxies()
		}
	}()
	args := []string{"--dir", filepath.Join(dir, "store"), "--ready-file", filepath.Join(dir, "ready"), "--quiet", "--user", "scram:secret:SCRAM-SHA-256", "--user", "alice:secret"}
	for i := range brokers {
		var bound, advertised []string
		for _, name := range listeners {
			free, err := freePort()
			if err != nil {
				return nil, err
			}
			p, err := newProxy(free, name != "SSL", seen, lately)
			if err != nil {
				return nil, err
			}
			d.proxies[name] = append(d.proxies[name], p)
			bound = append(bound, name+"://"+free)
			advertised = append(advertised, name+"://"+p.addr())
		}
		file := filepath.Join(dir, fmt.Sprintf("broker-%d.properties", i+1))
		if err := os.WriteFile(file, []byte(properties(i+1, bound, advertised, certs)), 0o600); err != nil {
			return nil, err
		}
		args = append(args, file)
	}
	stderr, err := os.Create(filepath.Join(dir, "partlogd.err"))
	if err != nil {
		return nil, err
	}
	defer stderr.Close()
	d.cmd = exec.Command(binary, args...)
	d.cmd.Stderr = stderr
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := d.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		d.err = d.cmd.Wait()
		close(d.done)
	}()
	for {
		if _, err := os.Stat(filepath.Join(dir, "ready")); err == nil {
			return d, nil
		}
		select {
		case <-d.done:
			out, _ := os.ReadFile(filepath.Join(dir, "partlogd.err"))
			return nil, fmt.Errorf("partlogd did not start: %v\n%s", d.err, out)
		case <-ctx.Done():
			d.cmd.Process.Kill()
			<-d.done
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func properties(id int, bound, advertised []string, certs certificates) string {
	return fmt.Sprintf(`node.id=%d
listeners=%s
advertised.listeners=%s
default.replication.factor=1
num.partitions=3
offsets.topic.num.partitions=6
transaction.state.log.num.partitions=6
group.initial.rebalance.delay.ms=0
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-256
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
allow.everyone.if.no.acl.found=true
super.users=User:ANONYMOUS;User:alice;User:scram
broker.rack=rack-%d
ssl.keystore.type=PEM
ssl.keystore.location=%s
`, id, strings.Join(bound, ","), strings.Join(advertised, ","), id, certs.server)
}

// drive runs the client, in a process group of its own that is ended with it.
func (d *daemon) drive(ctx context.Context, dir string, certs certificates, command []string, lately *trace) error {
	work := filepath.Join(dir, "work")
	if err := os.MkdirAll(work, 0o755); err != nil {
		return err
	}
	c := exec.Command(command[0], command[1:]...)
	c.Env = append(os.Environ(), "BOOTSTRAP="+d.bootstrap("PLAINTEXT"), "SASL_BOOTSTRAP="+d.bootstrap("SASL_PLAINTEXT"),
		"TLS_BOOTSTRAP="+d.bootstrap("SSL"), "CA_FILE="+certs.ca, "WORK="+work, "STORE="+filepath.Join(dir, "store"))
	c.Stdout, c.Stderr = os.Stdout, os.Stderr
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	err := c.Start()
	if err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- c.Wait() }()
	defer func() { _ = syscall.Kill(-c.Process.Pid, syscall.SIGKILL) }() // what it has left running
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for err == nil {
		select {
		case err := <-done:
			if err != nil {
				return fmt.Errorf("%s: %w", strings.Join(command, " "), err)
			}
			return nil
		case <-d.done:
			return fmt.Errorf("partlogd ended while the client ran: %v", d.err)
		case <-ctx.Done():
			err = ctx.Err()
		case <-tick.C:
			if lately.silent(silence) {
				err = errSilent
			}
		}
	}
	_ = syscall.Kill(-c.Process.Pid, syscall.SIGQUIT) // Go, Java and Python tell where they hang
	select {
	case <-done:
	case <-time.After(3 * time.Second):
	}
	return fmt.Errorf("%s: %w", strings.Join(command, " "), err)
}

func (d *daemon) bootstrap(listener string) string {
	var addrs []string
	for _, p := range d.proxies[listener] {
		addrs = append(addrs, p.addr())
	}
	return strings.Join(addrs, ",")
}

// stop ends partlogd as a user does; it has to end well.
func (d *daemon) stop() error {
	defer d.closeProxies()
	_ = d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
		return d.err
	case <-time.After(2 * time.Minute):
		_ = d.cmd.Process.Signal(syscall.SIGQUIT)
		<-d.done
		return errors.New("still there two minutes after SIGTERM")
	}
}

func (d *daemon) closeProxies() {
	for _, ps := range d.proxies {
		for _, p := range ps {
			p.close()
		}
	}
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/kafka"
)

// asProgram in the environment has the test binary be partlogd.
const asProgram = "PARTLOGD_TEST_RUNS_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

// process is partlogd in a process of its own.
type process struct {
	t     testing.TB
	cmd   *exec.Cmd
	out   *bufio.Reader
	err   *lockedBuffer
	ready string            // the ready file
	facts map[string]string // in it
	ended bool
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// command prepares partlogd.
func command(t testing.TB, args ...string) *exec.Cmd {
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(self, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// start runs partlogd until it is ready, on ports that the system chooses unless args say otherwise.
func start(t testing.TB, args ...string) *process {
	t.Helper()
	ready := filepath.Join(t.TempDir(), "ready")
	line := strings.Join(args, " ")
	if serves := !strings.HasPrefix(line, "re"); serves && !strings.Contains(line, ".properties") && !strings.Contains(line, "listeners=") {
		protocol := "PLAINTEXT"
		if strings.Contains(line, "--user") {
			protocol = "SASL_PLAINTEXT"
		}
		args = append(args, "--override", "listeners="+protocol+"://127.0.0.1:0")
	}
	p := &process{t: t, ready: ready, cmd: command(t, append(args, "--ready-file", ready)...), err: &lockedBuffer{}}
	p.cmd.Stderr = p.err
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	p.out = bufio.NewReader(out)
	require.NoError(t, p.cmd.Start())
	t.Cleanup(func() {
		if !p.ended {
			p.cmd.Process.Kill()
			p.cmd.Wait()
		}
	})
	line, err = p.out.ReadString('\n')
	if err != nil || line != readyMessage+"\n" {
		p.cmd.Wait()
		p.ended = true
		t.Fatalf("not ready: %q, %v\n%s", line, err, p.err)
	}
	f, err := os.Open(ready)
	require.NoError(t, err)
	defer f.Close()
	p.facts, err = kafka.ReadProperties(f)
	require.NoError(t, err)
	return p
}

// end sends a signal and waits for the end.
func (p *process) end(sig os.Signal) (code int) {
	p.t.Helper()
	require.NoError(p.t, p.cmd.Process.Signal(sig))
	return p.wait()
}

func (p *process) wait() int {
	_, err := io.Copy(io.Discard, p.out)
	require.NoError(p.t, err)
	_ = p.cmd.Wait() // the code tells
	p.ended = true
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) client(opts ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(strings.Split(p.facts["bootstrap.servers"], ",")...), kgo.RequestTimeoutOverhead(10 * time.Minute)}, opts...)...)
	require.NoError(p.t, err)
	p.t.Cleanup(c.Close)
	return c
}

// runs partlogd to its end.
func runProcess(t testing.TB, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := command(t, args...)
	var out, err bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &err
	_ = cmd.Run() // the code tells
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

func produceTo(t testing.TB, c *kgo.Client, topic string, values ...string) {
	t.Helper()
	for _, v := range values {
		require.NoError(t, c.ProduceSync(context.Background(), &kgo.Record{Topic: topic, Value: []byte(v)}).FirstErr())
	}
}

// valuesOf reads so many records of a topic from the beginning.
func valuesOf(t testing.TB, p *process, topic string, n int, opts ...kgo.Opt) (values []string) {
	t.Helper()
	c := p.client(append(opts, kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	for len(values) < n {
		fs := c.PollFetches(context.Background())
		require.NoError(t, fs.Err())
		fs.EachRecord(func(r *kgo.Record) { values = append(values, string(r.Value)) })
	}
	return values
}

const sigterm = syscall.SIGTERM

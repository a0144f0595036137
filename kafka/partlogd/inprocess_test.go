package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/partlogd/internal/tool"
)

// settingsOfATest are properties of nodes that share one busy machine, of whom nobody is missed who only is slow.
const settingsOfATest = `controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
offsets.topic.num.partitions=1
transaction.state.log.num.partitions=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=2097152
broker.session.timeout.ms=60000
broker.heartbeat.interval.ms=100
controller.quorum.election.timeout.ms=500
replica.fetch.backoff.ms=20
`

// members are nodes of a cluster in this process, each started as the command line starts it.
type members struct {
	t     testing.TB
	ctx   context.Context
	dir   string
	id    string // of the cluster
	peers []string
	all   map[int]*member
}

type member struct {
	cancel context.CancelFunc
	done   chan error
	err    *lockedBuffer
	facts  map[string]string
}

// newMembers finds addresses of loopback for n listeners of controllers, the first of node 1.
func newMembers(t testing.TB, n int) *members {
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute)
	t.Cleanup(cancel)
	m := &members{t: t, ctx: ctx, dir: t.TempDir(), id: randomUUID(), all: map[int]*member{}}
	host := "127.0.0.1"
	if pid := os.Getpid(); runtime.GOOS == "linux" {
		host = fmt.Sprintf("127.%d.%d.%d", 84+pid>>16&0x1f, pid>>8&0xff, 1+pid&0x7f)
	}
	for range n {
		l, err := net.Listen("tcp", host+":0")
		require.NoError(t, err)
		defer l.Close()
		m.peers = append(m.peers, l.Addr().String())
	}
	t.Cleanup(func() {
		for id := range m.all {
			m.all[id].cancel()
		}
		for id := range m.all {
			<-m.all[id].done
		}
	})
	return m
}

// file writes the properties of a node.
func (m *members) file(id int, roles string, more ...string) string {
	listeners := "CONTROLLER://" + m.peers[id-1]
	if strings.Contains(roles, "broker") {
		listeners += ",PLAINTEXT://127.0.0.1:0"
	}
	text := fmt.Sprintf("process.roles=%s\nnode.id=%d\nlisteners=%s\nlog.dirs=%s\n%s%s\n", roles, id, listeners, filepath.Join(m.dir, fmt.Sprint(id)), settingsOfATest, strings.Join(more, "\n"))
	name := filepath.Join(m.dir, fmt.Sprintf("%d.properties", id))
	require.NoError(m.t, os.WriteFile(name, []byte(text), 0o600))
	return name
}

// says runs a command line to its end.
func (m *members) says(args ...string) (code int, out string) {
	var stdout, stderr bytes.Buffer
	code = run(m.ctx, args, tool.Streams{In: strings.NewReader(""), Out: &stdout, Err: &stderr})
	return code, stdout.String() + stderr.String()
}

func (m *members) format(file string, more ...string) {
	code, out := m.says(append([]string{"storage", "format", "-t", m.id, "-c", file}, more...)...)
	require.Equal(m.t, exitOK, code, out)
}

// announced is a writer that closes ready when partlogd says so.
type announced struct{ ready chan struct{} }

func (a announced) Write(b []byte) (int, error) {
	if strings.Contains(string(b), readyMessage) {
		close(a.ready)
	}
	return len(b), nil
}

// begin starts a node; await waits until it is ready.
func (m *members) begin(id int, file string) (await func()) {
	ctx, cancel := context.WithCancel(m.ctx)
	one := &member{cancel: cancel, done: make(chan error, 1), err: &lockedBuffer{}}
	facts := filepath.Join(m.dir, fmt.Sprintf("%d.ready", id))
	out := announced{make(chan struct{})}
	go func() {
		one.done <- serve(ctx, []string{file, "--sync", "never", "--grace", "5m", "--ready-file", facts}, tool.Streams{Out: out, Err: one.err})
	}()
	m.all[id] = one
	return func() {
		select {
		case <-out.ready:
		case err := <-one.done:
			one.done <- err
			require.NoError(m.t, err, one.err)
			require.Fail(m.t, "it has ended", one.err)
		case <-m.ctx.Done():
			require.Fail(m.t, "it is not ready", one.err)
		}
		f, err := os.Open(facts)
		require.NoError(m.t, err)
		defer f.Close()
		one.facts, err = kafka.ReadProperties(f)
		require.NoError(m.t, err)
	}
}

// stop ends a node as SIGTERM does.
func (m *members) stop(id int) {
	one := m.all[id]
	delete(m.all, id)
	one.cancel()
	require.NoError(m.t, <-one.done, one.err)
}

func (m *members) brokers() (all []string) {
	for _, one := range m.all {
		if at := one.facts["bootstrap.servers"]; at != "" {
			all = append(all, at)
		}
	}
	return all
}

func (m *members) client(opts ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(m.brokers()...), kgo.MetadataMinAge(20 * time.Millisecond), kgo.RetryTimeout(8 * time.Minute)}, opts...)...)
	require.NoError(m.t, err)
	m.t.Cleanup(c.Close)
	return c
}

// tool runs a command against the brokers.
func (m *members) tool(args ...string) (code int, out string) {
	return m.says(append(args, "--bootstrap-server", strings.Join(m.brokers(), ","))...)
}

// shows repeats a command until its words, with single blanks between them, are as they should be.
func (m *members) shows(as func(words string) bool, args ...string) {
	m.until(strings.Join(args, " "), func() bool {
		code, out := m.tool(args...)
		return code == exitOK && as(strings.Join(strings.Fields(out), " "))
	})
}

func (m *members) until(what string, so func() bool) {
	for !so() {
		require.NoError(m.t, m.ctx.Err(), what)
		time.Sleep(10 * time.Millisecond)
	}
}

// leaders are who leads the partitions of a topic, as a broker knows it; nil while it does not know the topic.
func (m *members) leaders(cl *kgo.Client, broker int, topic string) (leaders []int32) {
	req := kmsg.NewPtrMetadataRequest()
	one := kmsg.NewMetadataRequestTopic()
	one.Topic = &topic
	req.Topics = append(req.Topics, one)
	resp, err := req.RequestWith(m.ctx, cl.Broker(broker))
	require.NoError(m.t, err)
	for _, p := range resp.Topics[0].Partitions {
		leaders = append(leaders, p.Leader)
	}
	return leaders
}

func (m *members) produce(cl *kgo.Client, topic string, from, to int) {
	var all []*kgo.Record
	for i := from; i < to; i++ {
		all = append(all, &kgo.Record{Topic: topic, Value: []byte(fmt.Sprint(i))})
	}
	require.NoError(m.t, cl.ProduceSync(m.ctx, all...).FirstErr())
}

// read returns how often each value is in a topic, once n of them have been read.
func (m *members) read(topic string, n int) map[string]int {
	cl := m.client(kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	seen := map[string]int{}
	for len(seen) < n {
		fs := cl.PollFetches(m.ctx)
		require.NoError(m.t, m.ctx.Err(), "%d of %d", len(seen), n)
		fs.EachRecord(func(r *kgo.Record) { seen[string(r.Value)]++ })
	}
	return seen
}

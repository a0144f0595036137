package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

func TestWithoutAnythingItServesInMemoryAndCreatesTopics(t *testing.T) {
	p := start(t)
	c := p.client(kgo.AllowAutoTopicCreation())
	produceTo(t, c, "orders", "a", "b", "c")
	require.Equal(t, []string{"a", "b", "c"}, valuesOf(t, p, "orders", 3))
	require.Equal(t, fmt.Sprint(p.cmd.Process.Pid), p.facts["pid"])
	require.NotEmpty(t, p.facts["cluster.id"])
	require.Equal(t, exitOK, p.end(sigterm))
	require.Contains(t, p.err.String(), "the store is in memory")
	require.NotContains(t, p.err.String(), "closed the connection")
}

// kafkasProperties are what a script that starts a single node of Apache Kafka writes.
const kafkasProperties = `process.roles=broker,controller
node.id=1
listeners=PLAINTEXT://127.0.0.1:%d,CONTROLLER://127.0.0.1:%d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
controller.quorum.voters=1@127.0.0.1:%[2]d
log.dirs=%[3]s
default.replication.factor=1
min.insync.replicas=1
offsets.topic.num.partitions=1
offsets.topic.replication.factor=1
transaction.state.log.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
log.cleaner.dedupe.buffer.size=2097152
`

// write writes a file of the test.
func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

func TestThePropertiesOfASingleKafkaNodeAreServed(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "k")
	require.NoError(t, os.Mkdir(dir, 0o755)) // the script makes it
	file := write(t, "k.properties", fmt.Sprintf(kafkasProperties, 0, 0, dir))
	p := start(t, file)
	c := p.client(kgo.AllowAutoTopicCreation())
	produceTo(t, c, "t", "kept")
	groups := p.client(kgo.ConsumeTopics("t"), kgo.ConsumerGroup("g"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for n := 0; n < 1; {
		fs := groups.PollFetches(context.Background())
		require.NoError(t, fs.Err())
		n += fs.NumRecords()
	}
	require.NoError(t, groups.CommitUncommittedOffsets(context.Background()))
	require.Equal(t, exitOK, p.end(sigterm))
	for _, name := range []string{"controller.quorum.voters", "controller.listener.names", "CONTROLLER"} {
		require.Contains(t, p.err.String(), name)
	}
	require.NoFileExists(t, p.ready)

	again := start(t, file)
	require.Equal(t, p.facts["cluster.id"], again.facts["cluster.id"])
	require.Equal(t, []string{"kept"}, valuesOf(t, again, "t", 1))
	require.NotContains(t, again.err.String(), "recovered", "the end was clean")
	require.Equal(t, exitOK, again.end(os.Interrupt))
}

func TestAcknowledgedRecordsSurviveAKill(t *testing.T) {
	dir := t.TempDir()
	p := start(t, "--dir", filepath.Join(dir, "store"))
	c := p.client(kgo.AllowAutoTopicCreation())
	produceTo(t, c, "t", "kept")
	p.end(syscall.SIGKILL)
	again := start(t, "--dir", filepath.Join(dir, "store"))
	require.Equal(t, []string{"kept"}, valuesOf(t, again, "t", 1))
	require.Equal(t, exitOK, again.end(sigterm))
}

func TestSeveralPropertyFilesAreBrokersOfOneStore(t *testing.T) {
	var files []string
	for id := range 3 {
		files = append(files, write(t, fmt.Sprint(id, ".properties"), fmt.Sprintf(
			"node.id=%d\nbroker.rack=rack%[1]d\nlisteners=PLAINTEXT://127.0.0.1:0\ndefault.replication.factor=3\ngroup.initial.rebalance.delay.ms=0\n", id)))
	}
	p := start(t, append(files, "--memory", "--topics", "spread:3,narrow:2:1")...)
	req := kmsg.NewPtrMetadataRequest()
	resp, err := req.RequestWith(context.Background(), p.client())
	require.NoError(t, err)
	racks := map[int32]string{}
	for _, b := range resp.Brokers {
		racks[b.NodeID] = *b.Rack
	}
	require.Equal(t, map[int32]string{0: "rack0", 1: "rack1", 2: "rack2"}, racks)
	leaders := map[int32]bool{}
	for _, topic := range resp.Topics {
		for _, part := range topic.Partitions {
			if *topic.Topic == "spread" {
				require.Len(t, part.Replicas, 3)
				leaders[part.Leader] = true
			} else {
				require.Len(t, part.Replicas, 1)
			}
		}
	}
	require.Len(t, leaders, 3)
	require.Len(t, strings.Split(p.facts["bootstrap.servers"], ","), 3)
	produceTo(t, p.client(), "spread", "a", "b")
	require.ElementsMatch(t, []string{"a", "b"}, valuesOf(t, p, "spread", 2))
	require.Equal(t, exitOK, p.end(sigterm))
}

func TestUsersLogInByTheirMechanism(t *testing.T) {
	p := start(t, "--user", "alice:se:cret", "--user", "bob:hidden:SCRAM-SHA-256", "--user", "carol:other:SCRAM-SHA-512")
	for name, mechanism := range map[string]kgo.Opt{
		"PLAIN":         kgo.SASL(plain.Auth{User: "alice", Pass: "se:cret"}.AsMechanism()),
		"SCRAM-SHA-256": kgo.SASL(scram.Auth{User: "bob", Pass: "hidden"}.AsSha256Mechanism()),
		"SCRAM-SHA-512": kgo.SASL(scram.Auth{User: "carol", Pass: "other"}.AsSha512Mechanism()),
	} {
		produceTo(t, p.client(mechanism, kgo.AllowAutoTopicCreation()), "t-"+name, "in")
	}
	wrong := p.client(kgo.SASL(plain.Auth{User: "alice", Pass: "wrong"}.AsMechanism()))
	require.ErrorContains(t, wrong.Ping(context.Background()), "SASL_AUTHENTICATION_FAILED")
	require.NotContains(t, p.err.String(), "cret")

	code, out, _ := runProcess(t, "", "topics", "--list", "--bootstrap-server", p.facts["bootstrap.servers"], "--user", "bob:hidden:SCRAM-SHA-256")
	require.Equal(t, exitOK, code)
	require.Contains(t, out, "t-PLAIN\n")
	require.Equal(t, exitOK, p.end(sigterm))
}

func TestUsersOfAJAASPropertyLogIn(t *testing.T) {
	file := write(t, "s.properties", `listeners=CLIENTS://127.0.0.1:0
listener.security.protocol.map=CLIENTS:SASL_PLAINTEXT
sasl.enabled.mechanisms=PLAIN
listener.name.clients.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required \
    user_alice="secret";
`)
	p := start(t, file, "--memory")
	produceTo(t, p.client(kgo.SASL(plain.Auth{User: "alice", Pass: "secret"}.AsMechanism()), kgo.AllowAutoTopicCreation()), "t", "in")
	require.Equal(t, exitOK, p.end(sigterm))
}

func TestTheProbesTellAboutReadiness(t *testing.T) {
	p := start(t, "--health", "127.0.0.1:0")
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/v1/cluster": 404} {
		resp, err := http.Get(p.facts["health"] + path)
		require.NoError(t, err)
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		require.Equal(t, want, resp.StatusCode, path)
	}
	http.DefaultClient.CloseIdleConnections()
	require.Equal(t, exitOK, p.end(sigterm))
}

// Each is a mistake, with the exit code and what the user is told to do.
func TestMistakesAreToldWithWhatToDo(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	kafkas := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(kafkas, "meta.properties"), []byte("version=1\ncluster.id=x\nnode.id=1\n"), 0o600))
	others := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(others, "thesis.tex"), nil, 0o600))
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--override", "listeners=PLAINTEXT://" + taken.Addr().String()}, exitFailed, "choose another port"},
		{[]string{"--dir", kafkas}, exitFailed, "--import " + kafkas},
		{[]string{"--dir", others}, exitFailed, "--dir names another"},
		{[]string{"nowhere.properties"}, exitUsage, "nowhere.properties"},
		{[]string{"--nonsense"}, exitUsage, "partlogd --help"},
		{[]string{"--memory", "--dir", "x"}, exitUsage, "--memory and --dir"},
		{[]string{"--sync", "sometimes"}, exitUsage, "always, never"},
		{[]string{"--topics", "a:none"}, exitUsage, "no number of partitions"},
		{[]string{"--user", "alice"}, exitUsage, "NAME:PASSWORD"},
		{[]string{"--user", "alice:x", "--override", "listeners=PLAINTEXT://127.0.0.1:0"}, exitUsage, "SASL_PLAINTEXT"},
		{[]string{"--control", "0.0.0.0:1"}, exitUsage, "127.0.0.1"},
		{[]string{"--override", "num.partitions=many"}, exitUsage, "num.partitions"},
		{[]string{"--override", "create.topic.policy.class.name=com.example.Policy"}, exitUsage, "JVM"},
		{[]string{"--override", "listeners=PLAINTEXT://0.0.0.0:0"}, exitFailed, "advertised.listeners"},
		{[]string{"perf"}, exitUsage, "perf measures"},
		{[]string{"consume"}, exitUsage, "--topic"},
		{[]string{"topics", "--bootstrap-server", "127.0.0.1:1", "--list"}, exitFailed, "no broker answers at 127.0.0.1:1"},
	} {
		code, out, stderr := runProcess(t, "", append(c.args, "--quiet")[:len(c.args)]...)
		require.Equal(t, c.code, code, "%q: %s", c.args, stderr)
		require.Contains(t, stderr, c.says, "%q", c.args)
		require.Empty(t, out)
	}
}

func TestTheSecondStoreOnADirectoryIsToldWhoHasIt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "store")
	p := start(t, "--dir", dir)
	code, _, stderr := runProcess(t, "", "--dir", dir, "--override", "listeners=PLAINTEXT://127.0.0.1:0")
	require.Equal(t, exitFailed, code)
	require.Contains(t, stderr, p.facts["pid"])
	require.Contains(t, stderr, "--dir")
	require.Equal(t, exitOK, p.end(sigterm))
}

func TestUnknownPropertiesAreWarnings(t *testing.T) {
	p := start(t, "--override", "no.such.property=1", "--override", "listeners=PLAINTEXT://127.0.0.1:0")
	require.Equal(t, exitOK, p.end(sigterm))
	require.Contains(t, p.err.String(), "no.such.property is not a property of Apache Kafka")
}

func TestHelpIsOnStandardOutput(t *testing.T) {
	for _, args := range [][]string{{"--help"}, {"help"}, {"help", "consume"}, {"produce", "--help"}, {"topics", "-h"}, {"groups", "--help"}, {"offsets", "--help"}, {"verify", "--help"}, {"dump", "--help"}, {"perf", "--help"}, {"perf", "produce", "--help"}, {"record", "--help"}, {"replay", "--help"}, {"compare", "--help"}} {
		code, out, stderr := runProcess(t, "", args...)
		require.Equal(t, exitOK, code, args)
		require.Contains(t, out, "Usage: partlogd", args)
		require.Empty(t, stderr, args)
	}
	code, out, _ := runProcess(t, "", "--version")
	require.Equal(t, exitOK, code)
	require.True(t, strings.HasPrefix(out, "partlogd "))
}

// A reader that has had enough, as head, ends the command quietly.
func TestABrokenPipeIsQuiet(t *testing.T) {
	p := start(t, "--topics", "t:1")
	c := p.client()
	for range 200 {
		produceTo(t, c, "t", strings.Repeat("x", 1000))
	}
	cmd := command(t, "consume", "--bootstrap-server", p.facts["bootstrap.servers"], "--topic", "t", "--from-beginning")
	var stderr lockedBuffer
	cmd.Stderr = &stderr
	r, w, err := os.Pipe()
	require.NoError(t, err)
	cmd.Stdout = w
	require.NoError(t, cmd.Start())
	w.Close()
	_, err = io.ReadFull(r, make([]byte, 10))
	require.NoError(t, err)
	r.Close()
	produceTo(t, c, "t", strings.Repeat("y", 100_000)) // it writes again, to nobody
	_ = cmd.Wait()                                     // by SIGPIPE, as any command
	require.NotContains(t, stderr.String(), "broken pipe")
	require.NotContains(t, stderr.String(), "panic")
	require.Equal(t, exitOK, p.end(sigterm))
}

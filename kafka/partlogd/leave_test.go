package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// trioOfMembers starts three nodes, each broker and controller. first is how the first is formatted, beyond the others.
func trioOfMembers(t *testing.T, first ...string) *members {
	m := newMembers(t, 3)
	var voters []string
	for i, at := range m.peers {
		voters = append(voters, fmt.Sprintf("%d@%s", i+1, at))
	}
	quorum := "controller.quorum.voters=" + strings.Join(voters, ",")
	replicated := "default.replication.factor=3\nmin.insync.replicas=2\noffsets.topic.replication.factor=3\ntransaction.state.log.replication.factor=3"
	var ready []func()
	for i := 1; i <= 3; i++ {
		file := m.file(i, "broker,controller", quorum, replicated)
		m.format(file, first...)
		first = nil
		ready = append(ready, m.begin(i, file))
		if i == 1 {
			ready[0]()
			ready = nil
		}
	}
	for _, await := range ready {
		await()
	}
	return m
}

// whole waits until all replicas of a topic are in sync.
func (m *members) whole(topic string) {
	m.until(topic+" is whole", func() bool {
		code, out := m.tool("cluster", "partitions", "--topic", topic)
		behind, few := m.tool("cluster", "partitions", "--topic", topic, "--under-replicated")
		return code == exitOK && behind == exitOK && strings.Contains(out, topic+" ") && !strings.Contains(few, topic+" ")
	})
}

// A connection that has nothing to do is ended when the broker ends its service: by then the partitions that it led are led by others, and these
// say so.
func TestANodeThatIsEndedHandsOverBeforeItTurnsClientsAway(t *testing.T) {
	m := trioOfMembers(t)
	code, out := m.tool("topics", "--create", "--topic", "orders", "--partitions", "6")
	require.Equal(t, exitOK, code, out)
	m.whole("orders")
	cl := m.client()
	require.Contains(t, m.leaders(cl, 2, "orders"), int32(1))
	idle, err := net.Dial("tcp", m.all[1].facts["bootstrap.servers"])
	require.NoError(t, err)
	defer idle.Close()
	_, err = idle.Write([]byte{0, 0, 0, 1}) // it is accepted, and being read
	require.NoError(t, err)
	going := m.all[1]
	going.cancel()
	_, err = io.Copy(io.Discard, idle)
	require.NoError(t, err)
	for _, broker := range []int{2, 3} {
		leaders := m.leaders(cl, broker, "orders")
		require.Len(t, leaders, 6)
		require.NotContains(t, leaders, int32(1), "as node %d says", broker)
		require.NotContains(t, leaders, int32(-1), "as node %d says", broker)
	}
	m.stop(1)
	require.NotContains(t, going.err.String(), "have not moved")
	m.produce(m.client(), "orders", 0, 10)
}

// A group and transactions go on while the node ends that has their coordinators.
func TestGroupsAndTransactionsGoOnWhileTheirCoordinatorEnds(t *testing.T) {
	m := trioOfMembers(t)
	for _, topic := range []string{"in", "out"} {
		code, out := m.tool("topics", "--create", "--topic", topic, "--partitions", "3")
		require.Equal(t, exitOK, code, out)
		m.whole(topic)
	}
	const records = 120
	m.produce(m.client(), "in", 0, records)

	// Read, and write on in transactions, with the offsets in them.
	session, err := kgo.NewGroupTransactSession(
		kgo.SeedBrokers(m.brokers()...), kgo.MetadataMinAge(20*time.Millisecond), kgo.ConsumerGroup("copiers"), kgo.ConsumeTopics("in"), kgo.TransactionalID("copier"),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	require.NoError(t, err)
	defer session.Close()
	ctx, cancel := context.WithCancel(m.ctx)
	defer cancel()
	begun := make(chan struct{})
	var once sync.Once
	copied := make(chan error, 1)
	go func() {
		copied <- func() error {
			for ctx.Err() == nil {
				fs := session.PollRecords(ctx, 5)
				if ctx.Err() != nil {
					return nil
				}
				if err := session.Begin(); err != nil {
					return fmt.Errorf("begin: %w", err)
				}
				end := kgo.TryCommit
				for r := range fs.RecordsAll() {
					if err := session.ProduceSync(ctx, &kgo.Record{Topic: "out", Value: r.Value}).FirstErr(); err != nil {
						end = kgo.TryAbort // what was read comes again
						break
					}
				}
				committed, err := session.End(ctx, end)
				if ctx.Err() != nil {
					return nil
				}
				if err != nil {
					return fmt.Errorf("end: %w", err)
				}
				if committed && fs.NumRecords() > 0 {
					once.Do(func() { close(begun) })
				}
			}
			return nil
		}()
	}()
	select {
	case <-begun:
	case err := <-copied:
		require.NoError(t, errors.Join(err, ctx.Err()))
	}
	cl := m.client()
	m.whole("__consumer_offsets")
	m.whole("__transaction_state")
	ended := m.leaders(cl, 1, "__consumer_offsets")[0]
	m.stop(int(ended))
	rest := map[int32]int{1: 2, 2: 3, 3: 1}[ended]
	require.NotEqual(t, ended, m.leaders(m.client(), rest, "__consumer_offsets")[0])
	m.produce(m.client(), "in", records, 2*records) // for the coordinators that are there now
	seen := m.read("out", 2*records)
	cancel()
	require.NoError(t, <-copied)
	for value, times := range seen {
		require.Equal(t, 1, times, value)
	}
}

func TestReassignmentsByAFileAreExecutedAndVerified(t *testing.T) {
	m := trioOfMembers(t, "--feature", "partlog.version=1") // what else a command does to a whole cluster is below
	code, out := m.tool("topics", "--create", "--topic", "orders", "--replica-assignment", "1:2,2:1")
	require.Equal(t, exitOK, code, out)
	m.produce(m.client(), "orders", 0, 20)
	file := filepath.Join(m.dir, "plan.json")
	require.NoError(t, os.WriteFile(file, []byte(`{"version":1,"partitions":[{"topic":"orders","partition":0,"replicas":[3,1]},{"topic":"orders","partition":1,"replicas":[2,3]}]}`), 0o600))
	code, out = m.tool("cluster", "reassign", "--reassignment-json-file", file, "--verify")
	require.Equal(t, exitOK, code, out)
	require.Contains(t, out, "There is no active reassignment of partition orders-0, but replica set is 1,2 rather than 3,1.")
	code, out = m.tool("cluster", "reassign", "--reassignment-json-file", file, "--execute", "--throttle", "10000000")
	require.Equal(t, exitOK, code, out)
	require.Contains(t, out, `{"version":1,"partitions":[{"topic":"orders","partition":0,"replicas":[1,2]},{"topic":"orders","partition":1,"replicas":[2,1]}]}`)
	require.Contains(t, out, "orders-0: begun")
	m.shows(func(words string) bool {
		return strings.HasPrefix(words, "Status of partition reassignment: Reassignment of partition orders-0 is completed. Reassignment of partition orders-1 is completed. Clearing ")
	}, "cluster", "reassign", "--reassignment-json-file", file, "--verify")
	code, out = m.tool("cluster", "reassign", "--reassignment-json-file", file, "--verify", "--execute")
	require.Equal(t, exitUsage, code, out)
	seen := m.read("orders", 20)
	require.Len(t, seen, 20)

	// Its nodes all run the program that they were upgraded to: the level that they know is the cluster's when somebody says so.
	levels := regexp.MustCompile(`Feature: partlog\.version SupportedMinVersion: 1 SupportedMaxVersion: (\d+) FinalizedVersionLevel: (\d+) `)
	newest := ""
	isAt := func(level string) func(string) bool {
		return func(words string) bool {
			found := levels.FindStringSubmatch(words)
			if found != nil {
				newest = found[1]
			}
			return found != nil && found[2] == level
		}
	}
	m.shows(isAt("1"), "features", "describe")
	m.until("no node knows the level", func() bool {
		code, out := m.tool("features", "upgrade", "--feature", "partlog.version=99")
		require.Equal(t, exitFailed, code)
		return strings.Contains(out, "can live with feature levels 1 to "+newest)
	})
	m.shows(func(words string) bool { return words == "partlog.version was upgraded to "+newest+"." }, "features", "upgrade", "--feature", "partlog.version="+newest)
	m.shows(isAt(newest), "features", "describe")
	m.until("there is no way back", func() bool {
		code, out := m.tool("features", "downgrade", "--unsafe", "--feature", "partlog.version=1")
		require.Equal(t, exitFailed, code)
		return strings.Contains(out, "there is no way back")
	})
}

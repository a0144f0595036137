package kafka

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/partition"
)

// serveMemory serves a store in memory on a loopback port.
func serveMemory(t testing.TB, c Config) (*Server, *partition.Store, string) {
	t.Helper()
	g := newGround(t, terms{server: c})
	return g.server, g.store, g.addr()
}

// unshaken is kgo for machines that stand still now and then, and brokers that stop: one may close a connection before its first
// answer, which kgo takes for a wrong protocol unless it is told otherwise.
var unshaken = []kgo.Opt{kgo.AlwaysRetryEOF(), kgo.RequestRetries(1000), kgo.RequestTimeoutOverhead(10 * time.Minute)}

func kgoClient(t testing.TB, addr string, opts ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append(append([]kgo.Opt{kgo.SeedBrokers(addr)}, unshaken...), opts...)...)
	require.NoError(t, err)
	t.Cleanup(c.Close)
	return c
}

// What kgo produces, kgo consumes: topics are created by its metadata requests.
func TestKgoProducesAndConsumes(t *testing.T) {
	_, _, addr := serveMemory(t, Config{})
	ctx := eventually(t)
	p := kgoClient(t, addr, kgo.AllowAutoTopicCreation(), kgo.DefaultProduceTopic("orders"))
	for i := range 100 {
		require.NoError(t, p.ProduceSync(ctx, kgo.StringRecord(fmt.Sprint(i))).FirstErr())
	}
	c := kgoClient(t, addr, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	for n := 0; n < 100; {
		fs := c.PollFetches(ctx)
		require.NoError(t, fs.Err())
		fs.EachRecord(func(r *kgo.Record) {
			require.Equal(t, fmt.Sprint(n), string(r.Value))
			n++
		})
	}
}

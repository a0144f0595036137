package kafka

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
)

// cluster is a rig with real connections and the system's clock.
func newCluster(t testing.TB, brokers int, sc partition.Config, c Config) (*Server, *partition.Store, string) {
	t.Helper()
	g := newGround(t, terms{brokers: brokers, store: sc, server: c})
	return g.server, g.store, g.addr()
}

// eventually is generous, for the slowest machine under the race detector: it bounds what hangs, nothing is timed by it.
func eventually(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// Records come back as they were sent: with every codec, keys and values that are null or empty, headers, timestamps, from
// every partition, in order.
func TestKgoRecordsComeBackAsTheyWereSent(t *testing.T) {
	_, store, addr := newCluster(t, 3, partition.Config{}, Config{})
	ctx := eventually(t)
	_, err := store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 16})
	require.NoError(t, err)
	want := map[int32][]*kgo.Record{}
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		p := kgoClient(t, addr, kgo.ProducerBatchCompression(codec), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic("orders"))
		var rs []*kgo.Record
		for i := range 200 {
			r := &kgo.Record{Partition: int32(i % 16), Timestamp: rigStart.Add(time.Duration(i) * time.Millisecond), Headers: []kgo.RecordHeader{{Key: "codec", Value: []byte(name)}, {Key: "null"}}}
			switch i % 4 {
			case 1:
				r.Key, r.Value = []byte{}, []byte{}
			case 2:
				r.Key, r.Value = []byte("key"), nil
			case 3:
				r.Key, r.Value = []byte(fmt.Sprint(i)), make([]byte, 1000)
			}
			rs = append(rs, r)
			want[r.Partition] = append(want[r.Partition], r)
		}
		require.NoError(t, p.ProduceSync(ctx, rs...).FirstErr())
	}
	c := kgoClient(t, addr, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	got := map[int32][]*kgo.Record{}
	for n := 0; n < 1000; {
		fs := c.PollFetches(ctx)
		require.NoError(t, fs.Err())
		fs.EachRecord(func(r *kgo.Record) { got[r.Partition], n = append(got[r.Partition], r), n+1 })
	}
	for p, rs := range want {
		require.Len(t, got[p], len(rs))
		for i, r := range rs {
			g := got[p][i]
			require.Equal(t, int64(i), g.Offset)
			require.Equal(t, r.Timestamp.UnixMilli(), g.Timestamp.UnixMilli())
			require.Equal(t, []any{r.Key, r.Value, r.Headers}, []any{g.Key, g.Value, g.Headers})
		}
	}
}

// While leaders move and brokers stop and come back, an idempotent producer loses nothing and repeats nothing, and a
// consumer sees everything once and in order.
func TestKgoGoesOnWhileLeadersMoveAndBrokersStop(t *testing.T) {
	s, _, addr := newCluster(t, 3, partition.Config{}, Config{})
	ctx := eventually(t)
	topic := makeTopic(s, "orders", partition.TopicConfig{Partitions: 4})
	g, _ := grounds.Load(s)
	g.(*ground).assign(topic, [][]int32{{1, 2, 3}, {2, 3, 1}, {3, 1, 2}, {1, 2, 3}})
	seeds := []string{addr}
	for _, b := range s.Brokers() {
		host, port, _ := b.Addr("")
		seeds = append(seeds, net.JoinHostPort(host, fmt.Sprint(port)))
	}
	opts := []kgo.Opt{kgo.SeedBrokers(seeds...), kgo.MetadataMinAge(10 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond })}
	const n = 300
	var wg sync.WaitGroup
	p := kgoClient(t, addr, append(opts, kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.DefaultProduceTopic("orders"))...)
	c := kgoClient(t, addr, append(opts, kgo.ConsumeTopics("orders"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	failures := make(chan error, 4*n)
	wg.Go(func() {
		for i := range n {
			for q := range int32(4) {
				wg.Add(1)
				p.Produce(ctx, &kgo.Record{Partition: q, Value: []byte(fmt.Sprint(i))}, func(_ *kgo.Record, err error) {
					if err != nil {
						failures <- err
					}
					wg.Done()
				})
			}
			if i%30 == 0 {
				failures <- p.Flush(ctx)
			}
		}
	})
	for i := range int32(12) {
		switch b := s.brokerByID(i%3 + 1); {
		case i%4 < 2 || onNodes(t): // a node that ends is in node_test.go
			require.NoError(t, s.MoveLeader(ctx, tpOf("orders", i%4), i%3+1))
		case i%4 == 2:
			require.NoError(t, b.Stop())
			require.NoError(t, b.Start())
		default:
			require.NoError(t, s.SetISR(ctx, tpOf("orders", i%4), 1, 2, 3))
		}
	}
	wg.Wait()
	close(failures)
	for err := range failures {
		require.NoError(t, err)
	}
	next := map[int32]int{}
	for total := 0; total < 4*n; {
		fs := c.PollFetches(ctx)
		require.NoError(t, ctx.Err())
		fs.EachRecord(func(r *kgo.Record) {
			require.Equal(t, fmt.Sprint(next[r.Partition]), string(r.Value), "partition %d", r.Partition)
			next[r.Partition]++
			total++
		})
	}
}

// raw is a connection without a client.
type raw struct {
	net.Conn
	t testing.TB
}

func dialRaw(t testing.TB, addr string) raw {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return raw{c, t}
}

func (c raw) send(correlation int32, version int16, req kmsg.Request) {
	c.t.Helper()
	req.SetVersion(version)
	_, err := c.Write(kmsg.NewRequestFormatter().AppendRequest(nil, req, correlation))
	require.NoError(c.t, err)
}

// receive reads an answer and returns its correlation id, and its body into resp.
func (c raw) receive(resp kmsg.Response) int32 {
	c.t.Helper()
	frame := c.frame()
	body := frame[4:]
	if resp.IsFlexible() {
		body = body[1:]
	}
	require.NoError(c.t, resp.ReadFrom(body))
	return int32(frame[0])<<24 | int32(frame[1])<<16 | int32(frame[2])<<8 | int32(frame[3])
}

func (c raw) frame() []byte {
	c.t.Helper()
	var size [4]byte
	_, err := io.ReadFull(c, size[:])
	require.NoError(c.t, err)
	frame := make([]byte, int(size[0])<<24|int(size[1])<<16|int(size[2])<<8|int(size[3]))
	_, err = io.ReadFull(c, frame)
	require.NoError(c.t, err)
	return frame
}

// Requests that are sent without waiting are answered in their order; acks=0 is not answered, and holds nothing up; also a
// fetch that waits is answered before what comes after it.
func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	s, _, addr := newCluster(t, 1, partition.Config{}, Config{})
	makeTopic(s, "orders", partition.TopicConfig{})
	c := dialRaw(t, addr)
	for i := range int32(20) {
		if i%5 == 4 {
			c.send(i, 9, produceOf("orders", 0, 0, records(batch.Options{}, "quiet")))
			continue
		}
		c.send(i, 9, produceOf("orders", 0, -1, records(batch.Options{}, "loud")))
	}
	for i := range int32(20) {
		if i%5 == 4 {
			continue
		}
		resp := kmsg.NewPtrProduceResponse()
		resp.SetVersion(9)
		require.Equal(t, i, c.receive(resp))
		require.Equal(t, int64(i), resp.Topics[0].Partitions[0].BaseOffset)
	}
	fetch := kmsg.NewPtrFetchRequest()
	fetch.MaxBytes, fetch.MinBytes, fetch.MaxWaitMillis = 1<<20, 1, 60_000
	rt, rp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	rt.Topic, rp.FetchOffset, rp.PartitionMaxBytes = "orders", 20, 1<<20
	rt.Partitions = append(rt.Partitions, rp)
	fetch.Topics = append(fetch.Topics, rt)
	c.send(100, 11, fetch)
	c.send(101, 9, kmsg.NewPtrMetadataRequest())
	dialRaw(t, addr).send(0, 9, produceOf("orders", 0, 1, records(batch.Options{}, "wake up")))
	resp := kmsg.NewPtrFetchResponse()
	resp.SetVersion(11)
	require.Equal(t, int32(100), c.receive(resp))
	require.NotEmpty(t, resp.Topics[0].Partitions[0].RecordBatches)
	meta := kmsg.NewPtrMetadataResponse()
	meta.SetVersion(9)
	require.Equal(t, int32(101), c.receive(meta))
}

// What closes a connection is said in Events, and other connections do not notice.
func TestClosedConnectionsHaveAReason(t *testing.T) {
	reasons := make(chan error, 10)
	s, _, addr := newCluster(t, 1, partition.Config{}, Config{Events: Events{
		ConnectionClosed: func(_ int32, _ string, _ ConnInfo, reason error) { reasons <- reason },
	}})
	makeTopic(s, "orders", partition.TopicConfig{})
	other := dialRaw(t, addr)
	for name, c := range map[string]struct {
		send func(c raw)
		want error
	}{
		"an unknown version": {func(c raw) { c.send(1, 2, produceOf("orders", 0, 1, nil)) }, ErrUnsupportedVersion},
		"a body that ends early": {func(c raw) {
			c.Write(append([]byte{0, 0, 0, 12}, wire.AppendHeader(nil, wire.Header{Key: 3, Version: 8, ClientID: []byte("ab")}, false)...))
		}, ErrMalformedRequest},
		"an error with acks=0": {func(c raw) { c.send(1, 9, produceOf("nowhere", 0, 0, records(batch.Options{}, "a"))) }, nil},
		"a client that goes":   {func(c raw) { c.Close() }, io.EOF},
		"HTTP":                 {func(c raw) { io.WriteString(c, "GET / HTTP/1.1\r\n\r\n") }, nil},
	} {
		c := c
		conn := dialRaw(t, addr)
		c.send(conn)
		if name != "a client that goes" {
			_, err := conn.Read(make([]byte, 1))
			require.Error(t, err, name)
		}
		reason := <-reasons
		require.Error(t, reason, name)
		if c.want != nil {
			require.ErrorIs(t, reason, c.want, name)
		}
	}
	other.send(5, 9, kmsg.NewPtrMetadataRequest())
	meta := kmsg.NewPtrMetadataResponse()
	meta.SetVersion(9)
	require.Equal(t, int32(5), other.receive(meta))
}

// Shutdown lets a fetch that waits answer with what there is, and then the connection ends.
func TestShutdownDrains(t *testing.T) {
	s, store, addr := newCluster(t, 1, partition.Config{}, Config{})
	makeTopic(s, "orders", partition.TopicConfig{})
	c := dialRaw(t, addr)
	fetch := kmsg.NewPtrFetchRequest()
	fetch.MaxBytes, fetch.MinBytes, fetch.MaxWaitMillis = 1<<20, 1, 3_600_000
	rt, rp := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	rt.Topic, rp.PartitionMaxBytes = "orders", 1<<20
	rt.Partitions = append(rt.Partitions, rp)
	fetch.Topics = append(fetch.Topics, rt)
	c.send(1, 11, fetch)
	for store.Stats().ParkedFetches == 0 {
		time.Sleep(time.Millisecond)
	}
	require.NoError(t, s.Shutdown(eventually(t)))
	resp := kmsg.NewPtrFetchResponse()
	resp.SetVersion(11)
	require.Equal(t, int32(1), c.receive(resp))
	_, err := c.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	_, err = s.Brokers()[0].listeners[0].config.Listener.Accept() // somebody else may have the port by now
	require.ErrorIs(t, err, net.ErrClosed)
	require.NoError(t, s.Shutdown(t.Context()), "twice is once")
	require.NoError(t, s.Close())
	_, err = s.AddBroker(BrokerConfig{})
	require.True(t, errors.Is(err, ErrClosed))
}

// Command franzgo drives franz-go as its users do.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	. "github.com/partlog/partlog/.ci/clients/smoke"
)

func client(opts ...kgo.Opt) *kgo.Client {
	return Got(kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(Addresses("BOOTSTRAP")...), kgo.ClientID("franz-go"), kgo.AllowAutoTopicCreation()}, opts...)...))
}

func main() {
	adm := kadm.NewClient(client())
	defer adm.Close()
	topics(adm)
	for name, codec := range map[string]kgo.CompressionCodec{
		"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression(),
	} {
		throughCodec(name, codec)
	}
	group(adm)
	transactions()
	security(adm)
	more(adm)
}

func topics(adm *kadm.Client) {
	ctx := Patiently()
	for name, n := range map[string]int32{"events": 6, "jobs": 6, "payments": 1} {
		Must(Got(adm.CreateTopic(ctx, n, -1, nil, name)).Err)
	}
	Check("partitions", len(Got(adm.ListTopics(ctx, "events"))["events"].Partitions), 6)
	Must(Got(adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("123456")}}, "events"))[0].Err)
	for _, c := range Got(adm.DescribeTopicConfigs(ctx, "events"))[0].Configs {
		if c.Key == "retention.ms" {
			Check("altered config", *c.Value, "123456")
		}
	}
	Must(Got(adm.UpdatePartitions(ctx, 2, "payments")).Error())
	Check("brokers", len(Got(adm.ListBrokers(ctx))), 3)
}

func produce(c *kgo.Client, topic string, rs []Record) {
	for _, r := range rs {
		c.Produce(Patiently(), &kgo.Record{Topic: topic, Key: []byte(r.Key), Value: []byte(r.Value), Headers: []kgo.RecordHeader{{Key: "i", Value: []byte(r.Header)}}},
			func(_ *kgo.Record, err error) { Must(err) })
	}
	Must(c.Flush(Patiently()))
}

func read(topic string, want int, opts ...kgo.Opt) (rs []Record) {
	c := client(append([]kgo.Opt{kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())}, opts...)...)
	defer c.Close()
	Until(fmt.Sprintf("%d records of %s read", want, topic), func() bool { return len(rs) >= want }, func() {
		c.PollFetches(Patiently()).EachRecord(func(r *kgo.Record) {
			x := Record{Key: string(r.Key), Value: string(r.Value)}
			if len(r.Headers) > 0 {
				x.Header = string(r.Headers[0].Value)
			}
			rs = append(rs, x)
		})
	})
	slices.SortFunc(rs, func(a, b Record) int { return cmp.Compare(a.Key, b.Key) })
	return rs
}

func throughCodec(name string, codec kgo.CompressionCodec) {
	c := client(kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(20*time.Millisecond))
	defer c.Close()
	want := Records(name, 200)
	produce(c, "codec-"+name, want)
	Check("records through "+name, read("codec-"+name, 200), want)
}

// member is a consumer of a group that knows its partitions.
type member struct {
	*kgo.Client
	mu    sync.Mutex
	owned map[int32]bool
	next  map[int32]int64
}

func join() *member {
	m := &member{owned: map[int32]bool{}, next: map[int32]int64{}}
	lose := func(_ context.Context, _ *kgo.Client, ps map[string][]int32) {
		m.mu.Lock()
		defer m.mu.Unlock()
		for _, p := range ps["jobs"] {
			delete(m.owned, p)
			delete(m.next, p)
		}
	}
	m.Client = client(kgo.ConsumerGroup("workers"), kgo.ConsumeTopics("jobs"), kgo.DisableAutoCommit(), kgo.HeartbeatInterval(300*time.Millisecond), kgo.OnPartitionsRevoked(lose), kgo.OnPartitionsLost(lose),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, ps map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			for _, p := range ps["jobs"] {
				m.owned[p] = true
			}
		}))
	return m
}

func (m *member) owns() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.owned)
}

func (m *member) position() (sum int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, n := range m.next {
		sum += n
	}
	return sum
}

func (m *member) poll(seen map[string]bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	m.PollFetches(ctx).EachRecord(func(r *kgo.Record) {
		seen[string(r.Key)] = true
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.owned[r.Partition] {
			m.next[r.Partition] = r.Offset + 1
		}
	})
}

func group(adm *kadm.Client) {
	p := client()
	defer p.Close()
	produce(p, "jobs", Records("old", 300))
	seen := map[string]bool{}
	one := join()
	Until("one has all", func() bool { return one.owns() == 6 }, func() { one.poll(seen) })
	two := join()
	both := func() { one.poll(seen); two.poll(seen) }
	Until("two share", func() bool { return one.owns() == 3 && two.owns() == 3 }, both)
	Until("read to the end", func() bool { return one.position()+two.position() == 300 }, both)
	Check("all read", len(seen), 300)
	Check("members", len(Got(adm.DescribeGroups(Patiently(), "workers"))["workers"].Members), 2)
	for _, m := range []*member{one, two} {
		var err error
		Until("committed", func() bool { // not while a rebalance is under way
			err = m.CommitUncommittedOffsets(Patiently())
			return !errors.Is(err, kerr.RebalanceInProgress) && !errors.Is(err, kerr.IllegalGeneration)
		}, func() { m.poll(seen) })
		Must(err)
	}
	one.Close()
	Until("the other has all", func() bool { return two.owns() == 6 }, func() { two.poll(seen) })
	two.Close()
	produce(p, "jobs", Records("new", 10))
	Check("resumed where the commit was", read("jobs", 10, kgo.ConsumerGroup("workers"), kgo.DisableAutoCommit()), Records("new", 10))
	sum := int64(0)
	for _, o := range Got(adm.FetchOffsets(Patiently(), "workers"))["jobs"] {
		sum += o.At
	}
	Check("committed", sum, int64(300))
	Check("listed", slices.Contains(Got(adm.ListGroups(Patiently())).Groups(), "workers"), true)
	Check("lag", Got(adm.Lag(Patiently(), "workers"))["workers"].Lag.Total(), int64(10))
	Must(Got(adm.DeleteGroups(Patiently(), "workers"))["workers"].Err)
}

func transactions() {
	s := Got(kgo.NewGroupTransactSession(kgo.SeedBrokers(Addresses("BOOTSTRAP")...), kgo.ClientID("franz-go"), kgo.TransactionalID("till"), kgo.ConsumerGroup("till"),
		kgo.ConsumeTopics("jobs"), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.DefaultProduceTopic("payments"), kgo.FetchMaxBytes(2000), kgo.FetchMaxPartitionBytes(2000),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart())))
	taken := map[string]int{}
	n := 0
	Until("every job paid for", func() bool { return len(taken) == 310 }, func() {
		fetches := s.PollFetches(Patiently())
		Must(fetches.Err())
		Must(s.Begin())
		n++
		var keys []string
		fetches.EachRecord(func(r *kgo.Record) {
			keys = append(keys, string(r.Key))
			s.Produce(Patiently(), &kgo.Record{Key: r.Key, Value: []byte("paid")}, func(_ *kgo.Record, err error) { Must(err) })
		})
		Must(s.Client().Flush(Patiently()))
		committed := Got(s.End(Patiently(), kgo.TransactionEndTry(n != 2)))
		if committed {
			for _, k := range keys {
				taken[k]++
			}
		}
	})
	s.Close()
	for k, n := range taken {
		if n != 1 {
			panic(fmt.Sprint(k, " taken ", n, " times"))
		}
	}
	keys := map[string]int{}
	for _, r := range read("payments", 310, kgo.FetchIsolationLevel(kgo.ReadCommitted())) {
		keys[r.Key]++
	}
	Check("paid for once", len(keys), 310)
	Check("aborted ones are there for those who ask", len(read("payments", 311)) > 310, true)
}

func security(adm *kadm.Client) {
	for name, opts := range map[string][]kgo.Opt{
		"PLAIN": {kgo.SeedBrokers(Addresses("SASL_BOOTSTRAP")...), kgo.SASL(plain.Auth{User: "alice", Pass: "secret"}.AsMechanism())},
		"SCRAM": {kgo.SeedBrokers(Addresses("SASL_BOOTSTRAP")...), kgo.SASL(scram.Auth{User: "scram", Pass: "secret"}.AsSha256Mechanism())},
		"TLS":   {kgo.SeedBrokers(Addresses("TLS_BOOTSTRAP")...), kgo.DialTLSConfig(TLS())},
	} {
		c := client(opts...)
		produce(c, "over-"+name, Records(name, 5))
		c.Close()
		Check("read over "+name, read("over-"+name, 5, opts...), Records(name, 5))
	}
	rule := kadm.NewACLs().Topics("secret").Allow("User:bob").AllowHosts("*").Operations(kadm.OpRead)
	Check("rules", len(Got(adm.CreateACLs(Patiently(), rule))), 1)
	Check("rules deleted", len(Got(adm.DeleteACLs(Patiently(), rule))[0].Deleted), 1)
	Must(Got(adm.AlterUserSCRAMs(Patiently(), nil, []kadm.UpsertSCRAM{{User: "carol", Mechanism: kadm.ScramSha512, Iterations: 4096, Password: "pw"}})).Error())
	Check("credentials", len(Got(adm.DescribeUserSCRAMs(Patiently()))), 2)
}

func more(adm *kadm.Client) {
	ctx := Patiently()
	var offsets kadm.Offsets
	offsets.AddOffset("codec-none", 0, 1, -1)
	Check("deleted records", Got(adm.DeleteRecords(ctx, offsets))["codec-none"][0].LowWatermark, int64(1))
	Must(Got(adm.ListStartOffsets(ctx, "codec-none")).Error())
	Must(Got(adm.ListOffsetsAfterMilli(ctx, 1, "codec-none")).Error())
	Must(Got(adm.DescribeBrokerLogDirs(ctx, 1, nil)).Error())
	Check("producers", len(Got(adm.DescribeProducers(ctx, kadm.TopicsSet{"payments": {0: {}}}))["payments"].Partitions), 1)
	Must(Got(adm.DescribeTransactions(ctx, "till"))["till"].Err)
	Check("transactions listed", len(Got(adm.ListTransactions(ctx, nil, nil))), 1)
	Must(Got(adm.DeleteTopic(ctx, "events")).Err)
	Until("deleted topic", func() bool { return !Got(adm.ListTopics(ctx)).Has("events") }, func() { time.Sleep(100 * time.Millisecond) }) // kgo caches
}

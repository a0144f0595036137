// Command kafkago drives segmentio's kafka-go as its users do: Writer, Reader and Client.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/sasl"
	"github.com/segmentio/kafka-go/sasl/plain"
	"github.com/segmentio/kafka-go/sasl/scram"

	. "github.com/partlog/partlog/.ci/clients/smoke"
)

var client = &kafka.Client{Addr: kafka.TCP(Addresses("BOOTSTRAP")...), Transport: &kafka.Transport{ClientID: "kafka-go"}, Timeout: Patience}

func main() {
	topics()
	for name, codec := range map[string]kafka.Compression{"none": 0, "gzip": kafka.Gzip, "snappy": kafka.Snappy, "lz4": kafka.Lz4, "zstd": kafka.Zstd} {
		topic := "codec-" + name
		create(topic, 1)
		want := Records(name, 200)
		write(client.Transport, Addresses("BOOTSTRAP"), codec, topic, want)
		Check("records through "+name, read(dialer(nil), Addresses("BOOTSTRAP"), topic, 200), want)
	}
	group()
	transactions()
	security()
	more()
}

func dialer(f func(*kafka.Dialer)) *kafka.Dialer {
	d := &kafka.Dialer{ClientID: "kafka-go", Timeout: Patience, DualStack: true}
	if f != nil {
		f(d)
	}
	return d
}

func create(topic string, n int) {
	for _, err := range Got(client.CreateTopics(Patiently(), &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{Topic: topic, NumPartitions: n, ReplicationFactor: 1}}})).Errors {
		Must(err)
	}
}

func topics() {
	ctx := Patiently()
	create("events", 6)
	create("payments", 1)
	c := Got(dialer(nil).DialContext(ctx, "tcp", Addresses("BOOTSTRAP")[0]))
	controller := Got(c.Controller())
	Check("brokers", len(Got(c.Brokers())), 3)
	c.Close()
	c = Got(dialer(nil).DialContext(ctx, "tcp", fmt.Sprintf("%s:%d", controller.Host, controller.Port)))
	Must(c.CreateTopics(kafka.TopicConfig{Topic: "jobs", NumPartitions: 6, ReplicationFactor: 1}))
	Check("partitions", len(Got(c.ReadPartitions("jobs"))), 6)
	c.Close()
	Check("topics", len(Got(client.Metadata(ctx, &kafka.MetadataRequest{Topics: []string{"events", "jobs"}})).Topics), 2)
	for _, r := range Got(client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: "events", Configs: []kafka.IncrementalAlterConfigsRequestConfig{{Name: "retention.ms", Value: "123456", ConfigOperation: kafka.ConfigOperationSet}}}}})).Resources {
		Must(r.Error)
	}
	Check("altered config", Got(client.DescribeConfigs(ctx, &kafka.DescribeConfigsRequest{Resources: []kafka.DescribeConfigRequestResource{{
		ResourceType: kafka.ResourceTypeTopic, ResourceName: "events", ConfigNames: []string{"retention.ms"}}}})).Resources[0].ConfigEntries[0].ConfigValue, "123456")
	for _, err := range Got(client.CreatePartitions(ctx, &kafka.CreatePartitionsRequest{Topics: []kafka.TopicPartitionsConfig{{Name: "payments", Count: 2}}})).Errors {
		Must(err)
	}
}

func write(t kafka.RoundTripper, addresses []string, codec kafka.Compression, topic string, rs []Record) {
	w := &kafka.Writer{Addr: kafka.TCP(addresses...), Topic: topic, Compression: codec, Transport: t, RequiredAcks: kafka.RequireAll, BatchTimeout: 10 * time.Millisecond, Balancer: &kafka.Hash{}}
	var ms []kafka.Message
	for _, r := range rs {
		ms = append(ms, kafka.Message{Key: []byte(r.Key), Value: []byte(r.Value), Headers: []kafka.Header{{Key: "i", Value: []byte(r.Header)}}})
	}
	Must(w.WriteMessages(Patiently(), ms...))
	Must(w.Close())
}

// read reads partition 0 without a group.
func read(d *kafka.Dialer, addresses []string, topic string, want int) (rs []Record) {
	r := kafka.NewReader(kafka.ReaderConfig{Brokers: addresses, Topic: topic, Dialer: d, MaxWait: 100 * time.Millisecond})
	defer r.Close()
	for len(rs) < want {
		m := Got(r.ReadMessage(Patiently()))
		rs = append(rs, Record{Key: string(m.Key), Value: string(m.Value), Header: string(m.Headers[0].Value)})
	}
	slices.SortFunc(rs, func(a, b Record) int { return cmp.Compare(a.Key, b.Key) })
	return rs
}

// worker is a member of a group that commits each record.
type worker struct {
	r    *kafka.Reader
	stop context.CancelFunc
	done sync.WaitGroup
	mu   *sync.Mutex
	seen map[string]int // by the member's number; shared
}

func work(number int, mu *sync.Mutex, all map[string]int) *worker {
	ctx, stop := context.WithCancel(context.Background())
	w := &worker{stop: stop, mu: mu, seen: all, r: kafka.NewReader(kafka.ReaderConfig{Brokers: Addresses("BOOTSTRAP"), GroupID: "workers", Topic: "jobs", Dialer: dialer(nil),
		StartOffset: kafka.FirstOffset, MaxWait: 100 * time.Millisecond, HeartbeatInterval: 300 * time.Millisecond, SessionTimeout: 45 * time.Second})}
	w.done.Go(func() {
		for {
			m, err := w.r.FetchMessage(ctx)
			if err != nil {
				if !errors.Is(err, context.Canceled) {
					panic(err)
				}
				return
			}
			if err := w.r.CommitMessages(ctx, m); err != nil && ctx.Err() == nil {
				fmt.Println("   ", err) // whoever has the partition next reads it again
			}
			mu.Lock()
			all[string(m.Key)] = number
			mu.Unlock()
		}
	})
	return w
}

func (w *worker) close() {
	w.stop()
	w.done.Wait()
	Must(w.r.Close())
}

func members() (ns []int) {
	g := Got(client.DescribeGroups(Patiently(), &kafka.DescribeGroupsRequest{GroupIDs: []string{"workers"}})).Groups[0]
	for _, m := range g.Members {
		n := 0
		for _, t := range m.MemberAssignments.Topics {
			n += len(t.Partitions)
		}
		ns = append(ns, n)
	}
	return ns
}

func group() {
	var mu sync.Mutex
	seen := map[string]int{}
	count := func(prefix string, number int) (n int) {
		mu.Lock()
		defer mu.Unlock()
		for k, by := range seen {
			if strings.HasPrefix(k, prefix) && (number == 0 || by == number) {
				n++
			}
		}
		return n
	}
	pause := func() { time.Sleep(50 * time.Millisecond) }
	feed := func(prefix string) {
		write(client.Transport, Addresses("BOOTSTRAP"), 0, "jobs", Records(prefix, 100))
	}
	feed("a")
	one := work(1, &mu, seen)
	Until("one has all", func() bool { return count("a", 1) == 100 }, pause)
	two := work(2, &mu, seen)
	Until("two share", func() bool { return slices.Equal(members(), []int{3, 3}) }, pause)
	feed("b")
	Until("all read", func() bool { return count("b", 0) == 100 }, pause)
	one.close()
	feed("c")
	Until("the other has all", func() bool { return count("c", 2) == 100 }, pause)
	two.close()
	offsets := func() (sum int64) {
		for _, p := range Got(client.OffsetFetch(Patiently(), &kafka.OffsetFetchRequest{GroupID: "workers", Topics: map[string][]int{"jobs": {0, 1, 2, 3, 4, 5}}})).Topics["jobs"] {
			sum += p.CommittedOffset
		}
		return sum
	}
	Until("committed", func() bool { return offsets() == 300 }, pause)
	feed("d")
	three := work(3, &mu, seen)
	Until("resumed", func() bool { return count("d", 3) == 100 }, pause)
	Check("resumed where the commit was", count("", 3), 100)
	three.close()
	Check("listed", len(Got(client.ListGroups(Patiently(), &kafka.ListGroupsRequest{})).Groups) > 0, true)
	for _, err := range Got(client.DeleteGroups(Patiently(), &kafka.DeleteGroupsRequest{GroupIDs: []string{"workers"}})).Errors {
		Must(err)
	}
}

// transactions goes as far as kafka-go does: its Client has the calls, its Writer does not use them.
func transactions() {
	ctx := Patiently()
	found := Got(client.FindCoordinator(ctx, &kafka.FindCoordinatorRequest{Key: "till", KeyType: kafka.CoordinatorKeyTypeTransaction}))
	Must(found.Error)
	p := Got(client.InitProducerID(ctx, &kafka.InitProducerIDRequest{TransactionalID: "till", TransactionTimeoutMs: 60000}))
	Must(p.Error)
	id := p.Producer
	for n := range 2 {
		for _, parts := range Got(client.AddPartitionsToTxn(ctx, &kafka.AddPartitionsToTxnRequest{TransactionalID: "till", ProducerID: id.ProducerID, ProducerEpoch: id.ProducerEpoch,
			Topics: map[string][]kafka.AddPartitionToTxn{"payments": {{Partition: 0}}}})).Topics {
			Must(parts[0].Error)
		}
		Must(Got(client.AddOffsetsToTxn(ctx, &kafka.AddOffsetsToTxnRequest{TransactionalID: "till", ProducerID: id.ProducerID, ProducerEpoch: id.ProducerEpoch, GroupID: "till"})).Error)
		for _, parts := range Got(client.TxnOffsetCommit(ctx, &kafka.TxnOffsetCommitRequest{TransactionalID: "till", GroupID: "till", ProducerID: id.ProducerID, ProducerEpoch: id.ProducerEpoch, GenerationID: -1,
			Topics: map[string][]kafka.TxnOffsetCommit{"jobs": {{Partition: 0, Offset: int64(10 + n)}}}})).Topics {
			Must(parts[0].Error)
		}
		Must(Got(client.EndTxn(ctx, &kafka.EndTxnRequest{TransactionalID: "till", ProducerID: id.ProducerID, ProducerEpoch: id.ProducerEpoch, Committed: n == 0})).Error)
	}
	var got int64
	Until("offset of the transaction", func() bool {
		got = Got(client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: "till", Topics: map[string][]int{"jobs": {0}}})).Topics["jobs"][0].CommittedOffset
		return got == 10
	}, func() { time.Sleep(20 * time.Millisecond) })
}

func security() {
	ways := map[string]struct {
		m         sasl.Mechanism
		addresses []string
	}{
		"PLAIN": {plain.Mechanism{Username: "alice", Password: "secret"}, Addresses("SASL_BOOTSTRAP")},
		"SCRAM": {Got(scram.Mechanism(scram.SHA256, "scram", "secret")), Addresses("SASL_BOOTSTRAP")},
		"TLS":   {nil, Addresses("TLS_BOOTSTRAP")},
	}
	for name, way := range ways {
		create("over-"+name, 1)
		t := &kafka.Transport{ClientID: "kafka-go", SASL: way.m}
		d := dialer(func(d *kafka.Dialer) { d.SASLMechanism = way.m })
		if name == "TLS" {
			t.TLS, d.TLS = TLS(), TLS()
		}
		write(t, way.addresses, kafka.Snappy, "over-"+name, Records(name, 5))
		Check("read over "+name, read(d, way.addresses, "over-"+name, 5), Records(name, 5))
	}
	for _, err := range Got(client.CreateACLs(Patiently(), &kafka.CreateACLsRequest{ACLs: []kafka.ACLEntry{{ResourceType: kafka.ResourceTypeTopic, ResourceName: "secret", ResourcePatternType: kafka.PatternTypeLiteral,
		Principal: "User:bob", Host: "*", Operation: kafka.ACLOperationTypeRead, PermissionType: kafka.ACLPermissionTypeAllow}}})).Errors {
		Must(err)
	}
	Check("rules", len(Got(client.DescribeACLs(Patiently(), &kafka.DescribeACLsRequest{Filter: kafka.ACLFilter{ResourceTypeFilter: kafka.ResourceTypeTopic, ResourcePatternTypeFilter: kafka.PatternTypeAny,
		Operation: kafka.ACLOperationTypeAny, PermissionType: kafka.ACLPermissionTypeAny}})).Resources), 1)
}

func more() {
	ctx := Patiently()
	offsets := Got(client.ListOffsets(ctx, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{"codec-none": {kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0)}}})).Topics["codec-none"][0]
	Check("offsets", []int64{offsets.FirstOffset, offsets.LastOffset}, []int64{0, 200})
	for _, err := range Got(client.DeleteTopics(ctx, &kafka.DeleteTopicsRequest{Topics: []string{"events"}})).Errors {
		Must(err)
	}
	Must(Got(client.ApiVersions(ctx, &kafka.ApiVersionsRequest{})).Error)
}

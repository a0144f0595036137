// Command sarama drives IBM's sarama as its users do.
package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"github.com/xdg-go/scram"

	. "github.com/partlog/partlog/.ci/clients/smoke"
)

// config is that of a user who has set the version of the cluster.
func config(change ...func(*sarama.Config)) *sarama.Config {
	c := sarama.NewConfig()
	c.ClientID = "sarama"
	c.Version = sarama.MaxVersion
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{sarama.NewBalanceStrategyRoundRobin()}
	c.Consumer.Group.Heartbeat.Interval = 300 * time.Millisecond
	c.Consumer.Group.Session.Timeout = 45 * time.Second // the machine may be slow
	c.Producer.Return.Successes = true
	for _, f := range change {
		f(c)
	}
	return c
}

func main() {
	admin := Got(sarama.NewClusterAdmin(Addresses("BOOTSTRAP"), config()))
	topics(admin)
	for _, codec := range []sarama.CompressionCodec{sarama.CompressionNone, sarama.CompressionGZIP, sarama.CompressionSnappy, sarama.CompressionLZ4, sarama.CompressionZSTD} {
		throughCodec(codec, sarama.MaxVersion)
	}
	throughCodec(sarama.CompressionLZ4, sarama.V1_0_0_0)
	throughCodec(sarama.CompressionZSTD, sarama.DefaultVersion)
	group(admin)
	transactions(admin)
	security(admin)
	more(admin)
	Must(admin.Close())
}

func topics(admin sarama.ClusterAdmin) {
	for name, n := range map[string]int32{"events": 6, "jobs": 6, "payments": 1} {
		Must(admin.CreateTopic(name, &sarama.TopicDetail{NumPartitions: n, ReplicationFactor: 1}, false))
	}
	Check("partitions", len(Got(admin.DescribeTopics([]string{"events"}))[0].Partitions), 6)
	value := "123456"
	Must(admin.IncrementalAlterConfig(sarama.TopicResource, "events", map[string]sarama.IncrementalAlterConfigsEntry{"retention.ms": {Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value}}, false))
	Check("altered config", Got(admin.DescribeConfig(sarama.ConfigResource{Type: sarama.TopicResource, Name: "events", ConfigNames: []string{"retention.ms"}}))[0].Value, value)
	Must(admin.AlterConfig(sarama.TopicResource, "jobs", map[string]*string{"retention.ms": &value}, false))
	Must(admin.CreatePartitions("payments", 2, nil, false))
	_, controller, err := admin.DescribeCluster()
	Must(err)
	Check("controller", controller > 0, true)
}

func produce(c *sarama.Config, addresses []string, topic string, rs []Record) {
	p := Got(sarama.NewSyncProducer(addresses, c))
	var ms []*sarama.ProducerMessage
	for _, r := range rs {
		m := &sarama.ProducerMessage{Topic: topic, Key: sarama.StringEncoder(r.Key), Value: sarama.StringEncoder(r.Value)}
		if c.Version.IsAtLeast(sarama.V0_11_0_0) {
			m.Headers = []sarama.RecordHeader{{Key: []byte("i"), Value: []byte(r.Header)}}
		}
		ms = append(ms, m)
	}
	Must(p.SendMessages(ms))
	Must(p.Close())
}

// read reads without a group.
func read(c *sarama.Config, addresses []string, topic string, want int) (rs []Record) {
	consumer := Got(sarama.NewConsumer(addresses, c))
	all := make(chan *sarama.ConsumerMessage)
	var parts []sarama.PartitionConsumer
	for _, p := range Got(consumer.Partitions(topic)) {
		pc := Got(consumer.ConsumePartition(topic, p, sarama.OffsetOldest))
		parts = append(parts, pc)
		go func() {
			for m := range pc.Messages() {
				all <- m
			}
		}()
	}
	limit := time.After(Patience)
	for len(rs) < want {
		select {
		case m := <-all:
			r := Record{Key: string(m.Key), Value: string(m.Value)}
			if len(m.Headers) > 0 {
				r.Header = string(m.Headers[0].Value)
			}
			rs = append(rs, r)
		case <-limit:
			panic(fmt.Sprintf("%d of %d records of %s", len(rs), want, topic))
		}
	}
	for _, pc := range parts {
		pc.AsyncClose()
	}
	slices.SortFunc(rs, func(a, b Record) int { return cmp.Compare(a.Key, b.Key) })
	return rs
}

func throughCodec(codec sarama.CompressionCodec, v sarama.KafkaVersion) {
	topic := fmt.Sprintf("codec-%v-%v", codec, v)
	want := Records(codec.String(), 200)
	c := config(func(c *sarama.Config) {
		c.Version = v
		c.Producer.Compression = codec
		if v == sarama.MaxVersion && codec != sarama.CompressionNone {
			c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.RequiredAcks = true, 1, sarama.WaitForAll
		}
	})
	produce(c, Addresses("BOOTSTRAP"), topic, want)
	Check(fmt.Sprintf("records through %v as of %v", codec, v), read(c, Addresses("BOOTSTRAP"), topic, 200), want)
}

// worker is a member of a group.
type worker struct {
	g    sarama.ConsumerGroup
	stop context.CancelFunc
	done sync.WaitGroup

	mu    sync.Mutex
	owned int
	seen  map[string]bool
}

func (w *worker) Setup(s sarama.ConsumerGroupSession) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.owned = len(s.Claims()["jobs"])
	return nil
}
func (w *worker) Cleanup(s sarama.ConsumerGroupSession) error {
	s.Commit()
	return nil
}
func (w *worker) ConsumeClaim(s sarama.ConsumerGroupSession, c sarama.ConsumerGroupClaim) error {
	for {
		select {
		case m, ok := <-c.Messages():
			if !ok {
				return nil
			}
			w.mu.Lock()
			w.seen[string(m.Key)] = true
			w.mu.Unlock()
			s.MarkMessage(m, "done")
		case <-s.Context().Done():
			return nil
		}
	}
}

func (w *worker) count() (owned, seen int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.owned, len(w.seen)
}

func (w *worker) close() {
	w.stop()
	w.done.Wait()
	Must(w.g.Close())
}

func work() *worker {
	w := &worker{g: Got(sarama.NewConsumerGroup(Addresses("BOOTSTRAP"), "workers", config())), seen: map[string]bool{}}
	ctx, stop := context.WithCancel(context.Background())
	w.stop = stop
	w.done.Go(func() {
		for ctx.Err() == nil {
			if err := w.g.Consume(ctx, []string{"jobs"}, w); err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, sarama.ErrClosedConsumerGroup) {
				fmt.Println("   ", err) // it joins again
			}
		}
	})
	return w
}

func group(admin sarama.ClusterAdmin) {
	pause := func() { time.Sleep(20 * time.Millisecond) }
	produce(config(), Addresses("BOOTSTRAP"), "jobs", Records("old", 300))
	one := work()
	Until("one has all", func() bool { n, _ := one.count(); return n == 6 }, pause)
	two := work()
	Until("two share", func() bool { a, _ := one.count(); b, _ := two.count(); return a == 3 && b == 3 }, pause)
	Until("all read", func() bool {
		one.mu.Lock()
		defer one.mu.Unlock()
		two.mu.Lock()
		defer two.mu.Unlock()
		both := map[string]bool{}
		for _, s := range []map[string]bool{one.seen, two.seen} {
			for k := range s {
				both[k] = true
			}
		}
		return len(both) == 300
	}, pause)
	Check("members", len(Got(admin.DescribeConsumerGroups([]string{"workers"}))[0].Members), 2)
	one.close()
	Until("the other has all", func() bool { n, _ := two.count(); return n == 6 }, pause)
	two.close()
	produce(config(), Addresses("BOOTSTRAP"), "jobs", Records("new", 10))
	three := work()
	Until("resumed", func() bool { _, n := three.count(); return n == 10 }, pause)
	three.mu.Lock()
	Check("resumed where the commit was", three.seen["new-000"] && three.seen["new-009"], true)
	three.mu.Unlock()
	three.close()
	sum := int64(0)
	for _, b := range Got(admin.ListConsumerGroupOffsets("workers", map[string][]int32{"jobs": {0, 1, 2, 3, 4, 5}})).Blocks["jobs"] {
		sum += b.Offset
	}
	Check("committed", sum, int64(310))
	Check("listed", Got(admin.ListConsumerGroups())["workers"], "consumer")
	Must(admin.DeleteConsumerGroup("workers"))
}

func transactions(admin sarama.ClusterAdmin) {
	p := Got(sarama.NewAsyncProducer(Addresses("BOOTSTRAP"), config(func(c *sarama.Config) {
		c.Producer.Idempotent, c.Net.MaxOpenRequests, c.Producer.RequiredAcks = true, 1, sarama.WaitForAll
		c.Producer.Transaction.ID = "till"
	})))
	for n := range 3 {
		Must(p.BeginTxn())
		for i := range 20 {
			p.Input() <- &sarama.ProducerMessage{Topic: "payments", Key: sarama.StringEncoder(fmt.Sprintf("%d-%02d", n, i)), Value: sarama.StringEncoder("10 EUR")}
			select {
			case <-p.Successes():
			case err := <-p.Errors():
				panic(err)
			}
		}
		Must(p.AddOffsetsToTxn(map[string][]*sarama.PartitionOffsetMetadata{"jobs": {{Partition: 0, Offset: int64(10 + n)}}}, "till"))
		if n == 1 {
			Must(p.AbortTxn())
		} else {
			Must(p.CommitTxn())
		}
	}
	Must(p.Close())
	committed := config(func(c *sarama.Config) { c.Consumer.IsolationLevel = sarama.ReadCommitted })
	for _, r := range read(committed, Addresses("BOOTSTRAP"), "payments", 40) {
		if r.Key[0] == '1' {
			panic("read what was aborted: " + r.Key)
		}
	}
	fmt.Println("ok  committed records")
	Check("all records", len(read(config(), Addresses("BOOTSTRAP"), "payments", 60)), 60)
	Check("offset of the transaction", Got(admin.ListConsumerGroupOffsets("till", map[string][]int32{"jobs": {0}})).Blocks["jobs"][0].Offset, int64(12))
}

// exchange is the SCRAM client that sarama asks its users for.
type exchange struct{ *scram.ClientConversation }

func (e *exchange) Begin(user, password, authzID string) error {
	c, err := scram.HashGeneratorFcn(sha256.New).NewClient(user, password, authzID)
	if err == nil {
		e.ClientConversation = c.NewConversation()
	}
	return err
}

func security(admin sarama.ClusterAdmin) {
	for name, f := range map[string]func(*sarama.Config){
		"PLAIN": func(c *sarama.Config) {
			c.Net.SASL.Enable, c.Net.SASL.Mechanism, c.Net.SASL.User, c.Net.SASL.Password = true, sarama.SASLTypePlaintext, "alice", "secret"
		},
		"SCRAM": func(c *sarama.Config) {
			c.Net.SASL.Enable, c.Net.SASL.Mechanism, c.Net.SASL.User, c.Net.SASL.Password = true, sarama.SASLTypeSCRAMSHA256, "scram", "secret"
			c.Net.SASL.SCRAMClientGeneratorFunc = func() sarama.SCRAMClient { return &exchange{} }
		},
		"TLS": func(c *sarama.Config) { c.Net.TLS.Enable, c.Net.TLS.Config = true, TLS() },
	} {
		addresses := Addresses("SASL_BOOTSTRAP")
		if name == "TLS" {
			addresses = Addresses("TLS_BOOTSTRAP")
		}
		produce(config(f), addresses, "over-"+name, Records(name, 5))
		Check("read over "+name, read(config(f), addresses, "over-"+name, 5), Records(name, 5))
	}
	Must(admin.CreateACL(sarama.Resource{ResourceType: sarama.AclResourceTopic, ResourceName: "secret", ResourcePatternType: sarama.AclPatternLiteral},
		sarama.Acl{Principal: "User:bob", Host: "*", Operation: sarama.AclOperationRead, PermissionType: sarama.AclPermissionAllow}))
	any := sarama.AclFilter{ResourceType: sarama.AclResourceAny, ResourcePatternTypeFilter: sarama.AclPatternAny, Operation: sarama.AclOperationAny, PermissionType: sarama.AclPermissionAny}
	Check("rules", len(Got(admin.ListAcls(any))), 1)
	Check("rules deleted", len(Got(admin.DeleteACL(any, false))), 1)
	for _, r := range Got(admin.UpsertUserScramCredentials([]sarama.AlterUserScramCredentialsUpsert{{Name: "carol", Mechanism: sarama.SCRAM_MECHANISM_SHA_512, Iterations: 4096, Salt: []byte("salt"), Password: []byte("pw")}})) {
		Check("credentials", r.ErrorCode, sarama.ErrNoError)
	}
	Check("credentials listed", len(Got(admin.DescribeUserScramCredentials([]string{"carol"}))), 1)
	carol := []sarama.QuotaEntityComponent{{EntityType: sarama.QuotaEntityUser, MatchType: sarama.QuotaMatchExact, Name: "carol"}}
	Must(admin.AlterClientQuotas(carol, sarama.ClientQuotasOp{Key: "producer_byte_rate", Value: 1e6}, false))
	Check("quotas", len(Got(admin.DescribeClientQuotas([]sarama.QuotaFilterComponent{{EntityType: sarama.QuotaEntityUser, MatchType: sarama.QuotaMatchExact, Match: "carol"}}, false))), 1)
}

func more(admin sarama.ClusterAdmin) {
	Check("log directories", len(Got(admin.DescribeLogDirs([]int32{1, 2, 3}))), 3)
	Must(admin.DeleteRecords("payments", map[int32]int64{0: 1}))
	Must(admin.AlterPartitionReassignments("payments", [][]int32{{3}, {2}}))
	Check("reassignments", len(Got(admin.ListPartitionReassignments("payments", []int32{0, 1}))), 0)
	_, err := admin.ElectLeaders(sarama.PreferredElection, map[string][]int32{"payments": {0}})
	Must(err)
	Must(admin.DeleteTopic("events"))
	_, there := Got(admin.ListTopics())["events"]
	Check("deleted topic", there, false)
}

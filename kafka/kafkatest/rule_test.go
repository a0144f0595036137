package kafkatest_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/kafka"
	"github.com/partlog/partlog/kafka/kafkatest"
)

// manual has records go where they say.
var manual = kgo.RecordPartitioner(kgo.ManualPartitioner())

func send(t testing.TB, k *kgo.Client, topic string, p int32, value string) error {
	t.Helper()
	return k.ProduceSync(bound(t), &kgo.Record{Topic: topic, Partition: p, Value: []byte(value)}).FirstErr()
}

func TestAnErrorIsForThePartitionsNamedAndTheOthersAreServed(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 2), kafkatest.Topic("other", 1))
	rule := c.Inject(kafkatest.Rule{API: "Produce", Topic: "ord*", Partitions: []int32{1}, Error: kerr.InvalidRecord.Code})
	k := client(t, c, manual, kgo.ProducerLinger(50*time.Millisecond)) // one request for all
	ctx := bound(t)
	rs := k.ProduceSync(ctx,
		&kgo.Record{Topic: "orders", Partition: 0, Value: []byte("good")}, &kgo.Record{Topic: "orders", Partition: 1, Value: []byte("bad")}, &kgo.Record{Topic: "other", Value: []byte("good")})
	for _, r := range rs {
		if r.Record.Topic == "orders" && r.Record.Partition == 1 {
			require.ErrorIs(t, r.Err, kerr.InvalidRecord)
		} else {
			require.NoError(t, r.Err)
		}
	}
	require.Equal(t, 1, rule.Hits())
	records, err := c.Records("orders", 1)
	require.NoError(t, err)
	require.Empty(t, records, "it had no effect")
}

func TestTheNthToTheMthRequestFails(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1))
	rule := c.Inject(kafkatest.Rule{API: "Produce", Nth: 2, Times: 2, Error: kerr.InvalidRecord.Code})
	k := client(t, c, kgo.DisableIdempotentWrite())
	var failed []int
	for i := range 5 {
		if send(t, k, "orders", 0, "x") != nil {
			failed = append(failed, i+1)
		}
	}
	require.Equal(t, []int{2, 3}, failed)
	require.Equal(t, 5, rule.Seen())
	require.Equal(t, 2, rule.Hits())
}

// The answer is lost, and the request has taken effect: an idempotent producer's retry is no second record.
func TestALostAcknowledgementIsNoSecondRecord(t *testing.T) {
	for name, r := range map[string]kafkatest.Rule{
		"closed": {API: "Produce", Times: 1, Apply: true, Close: true},
		"error":  {API: "Produce", Times: 1, Apply: true, Error: kerr.RequestTimedOut.Code},
		"cut":    {API: "Produce", Times: 1, Truncate: 11},
	} {
		t.Run(name, func(t *testing.T) {
			c := kafkatest.New(t, kafkatest.Topic("orders", 1))
			rule := c.Inject(r)
			require.NoError(t, send(t, client(t, c), "orders", 0, "once"))
			require.Equal(t, 1, rule.Hits())
			require.Equal(t, 2, rule.Seen(), "it was sent again")
			records, err := c.Records("orders", 0)
			require.NoError(t, err)
			require.Len(t, records, 1)
		})
	}
}

func TestADroppedRequestIsNeverAnsweredAndNotDone(t *testing.T) {
	c := kafkatest.New(t)
	rule := c.Inject(kafkatest.Rule{API: "CreateTopics", Drop: true})
	k := client(t, c)
	ctx, cancel := context.WithCancel(bound(t))
	req := kmsg.NewPtrCreateTopicsRequest()
	rt := kmsg.NewCreateTopicsRequestTopic()
	rt.Topic, rt.NumPartitions, rt.ReplicationFactor = "orders", 1, 1
	req.Topics = append(req.Topics, rt)
	done := make(chan error, 1)
	go func() {
		_, err := k.Broker(1).Request(ctx, req)
		done <- err
	}()
	require.NoError(t, rule.Wait(bound(t), 1))
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	_, err := c.Store().Topic("orders")
	require.Error(t, err)
}

func TestACorruptAnswerIsNotTakenForAGoodOne(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1), kafkatest.Seed(7))
	produce(t, client(t, c), "orders", "a", "b", "c")
	rule := c.Inject(kafkatest.Rule{API: "Fetch", Corrupt: 40, Times: 1, Match: func(call *kafka.Call) bool {
		return call.Request.(*kmsg.FetchRequest).SessionEpoch <= 0
	}})
	r := reader(t, c, "orders")
	require.Equal(t, []string{"a", "b", "c"}, consume(t, r, 3))
	require.Equal(t, 1, rule.Hits())
}

func TestDelaysGoByTheClusterClock(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1))
	for _, r := range []kafkatest.Rule{
		{API: "Produce", Delay: time.Hour, Times: 1}, {API: "Produce", DelayAnswer: time.Hour, Times: 1}, {API: "Produce", Slow: 1, Times: 1},
	} {
		rule := c.Inject(r)
		done := make(chan error, 1)
		k := client(t, c, kgo.ProduceRequestTimeout(24*time.Hour))
		k.Produce(bound(t), &kgo.Record{Topic: "orders", Value: []byte("x")}, func(_ *kgo.Record, err error) { done <- err })
		require.NoError(t, rule.Wait(bound(t), 1))
		require.Empty(t, done)
		waiting := true
		for waiting { // the request may not have begun to wait yet
			c.Clock().Advance(2 * time.Hour)
			select {
			case err := <-done:
				require.NoError(t, err)
				waiting = false
			case <-time.After(time.Millisecond):
			}
		}
		rule.Remove()
	}
}

func TestARuleThatObservesCountsAndCanBeWaitedFor(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Brokers(2), kafkatest.Topic("orders", 1))
	all := c.Inject(kafkatest.Rule{})
	mine := c.Inject(kafkatest.Rule{API: "ApiVersions, 3", ClientID: "me-*"})
	none := c.Inject(kafkatest.Rule{Brokers: []int32{99}})
	wrong := c.Inject(kafkatest.Rule{API: "Produce", Versions: []int16{3}})
	produce(t, client(t, c, kgo.ClientID("me-1")), "orders", "x")
	require.NoError(t, mine.Wait(bound(t), 2))
	some := mine.Hits() // before all are counted: there may be more meanwhile
	require.Greater(t, all.Hits(), some)
	require.Zero(t, none.Seen()+wrong.Seen())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, none.Wait(ctx, 1), context.Canceled)
	require.Len(t, c.Rules().All(), 4)
	mine.Remove()
	before := mine.Seen()
	produce(t, client(t, c, kgo.ClientID("me-1")), "orders", "x")
	require.Equal(t, before, mine.Seen())
	c.Rules().Clear()
	require.Empty(t, c.Rules().All())
}

func TestAProbabilityIsDrawnFromTheSeed(t *testing.T) {
	run := func(seed uint64) (failed []int) {
		c := kafkatest.New(t, kafkatest.Topic("orders", 1), kafkatest.Seed(seed))
		c.Inject(kafkatest.Rule{API: "Produce", Probability: 0.5, Error: kerr.InvalidRecord.Code})
		k := client(t, c, kgo.DisableIdempotentWrite())
		for i := range 20 {
			if send(t, k, "orders", 0, "x") != nil {
				failed = append(failed, i)
			}
		}
		return failed
	}
	first := run(3)
	require.NotEmpty(t, first)
	require.Less(t, len(first), 20)
	require.Equal(t, first, run(3))
	require.NotEqual(t, first, run(4))
}

// A later request of a fetch session names nothing: the rule finds its partitions all the same.
func TestAFetchSessionIsFoundByItsTopics(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1), kafkatest.Topic("other", 1))
	k := client(t, c)
	produce(t, k, "orders", "a")
	r := client(t, c, kgo.ConsumeTopics("orders", "other"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.KeepRetryableFetchErrors())
	require.Equal(t, []string{"a"}, consume(t, r, 1))
	rule := c.Inject(kafkatest.Rule{API: "Fetch", Topic: "orders", Error: kerr.KafkaStorageError.Code, Times: 1, Match: func(call *kafka.Call) bool {
		return len(call.Request.(*kmsg.FetchRequest).Topics) == 0
	}})
	got := make(chan error, 1)
	go func() {
		for {
			fs := r.PollFetches(bound(t))
			for _, e := range fs.Errors() {
				if e.Topic == "orders" {
					got <- e.Err
					return
				}
			}
			if fs.IsClientClosed() {
				return
			}
		}
	}()
	require.NoError(t, rule.Wait(bound(t), 1))
	require.ErrorIs(t, <-got, kerr.KafkaStorageError)
	produce(t, k, "orders", "b")
	require.Equal(t, []string{"b"}, consume(t, r, 1))
}

func TestErrorsAreWhereEachAPIHasThem(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("a", 2), kafkatest.Topic("b", 1))
	k := client(t, c)
	ctx := bound(t)
	const code = 87 // INVALID_RECORD, which no handler here gives by itself
	ask := func(req kmsg.Request, r kafkatest.Rule) kmsg.Response {
		t.Helper()
		r.API, r.Error = kmsg.NameForKey(req.Key()), code
		rule := c.Inject(r)
		defer rule.Remove()
		resp, err := k.Broker(1).RetriableRequest(ctx, req)
		require.NoError(t, err)
		require.Equal(t, 1, rule.Hits())
		return resp
	}

	meta := kmsg.NewPtrMetadataRequest()
	for _, name := range []string{"a", "b"} {
		mt := kmsg.NewMetadataRequestTopic()
		mt.Topic = kmsg.StringPtr(name)
		meta.Topics = append(meta.Topics, mt)
	}
	mr := ask(meta, kafkatest.Rule{Topic: "a"}).(*kmsg.MetadataResponse)
	require.Len(t, mr.Topics, 2)
	for _, mt := range mr.Topics {
		require.Equal(t, *mt.Topic == "a", mt.ErrorCode == code)
	}
	mr = ask(meta, kafkatest.Rule{Topic: "a", Partitions: []int32{1}}).(*kmsg.MetadataResponse)
	for _, mt := range mr.Topics {
		require.Zero(t, mt.ErrorCode)
		for _, p := range mt.Partitions {
			require.Equal(t, *mt.Topic == "a" && p.Partition == 1, p.ErrorCode == code)
		}
	}

	find := kmsg.NewPtrFindCoordinatorRequest()
	find.CoordinatorKeys = []string{"g1", "g2"}
	fr := ask(find, kafkatest.Rule{Group: "g1"}).(*kmsg.FindCoordinatorResponse)
	require.Len(t, fr.Coordinators, 2)
	for _, x := range fr.Coordinators {
		require.Equal(t, x.Key == "g1", x.ErrorCode == code)
	}

	commit := kmsg.NewPtrOffsetCommitRequest()
	commit.Group, commit.Generation = "g1", -1
	ct := kmsg.NewOffsetCommitRequestTopic()
	ct.Topic = "a"
	for p := range int32(2) {
		cp := kmsg.NewOffsetCommitRequestTopicPartition()
		cp.Partition, cp.Offset = p, 0
		ct.Partitions = append(ct.Partitions, cp)
	}
	commit.Topics = append(commit.Topics, ct)
	cr := ask(commit, kafkatest.Rule{Group: "g1", Partitions: []int32{0}}).(*kmsg.OffsetCommitResponse)
	require.Len(t, cr.Topics, 1)
	require.Len(t, cr.Topics[0].Partitions, 2)
	for _, p := range cr.Topics[0].Partitions {
		require.Equal(t, p.Partition == 0, p.ErrorCode == code, "%+v", cr)
	}
	cr = ask(commit, kafkatest.Rule{}).(*kmsg.OffsetCommitResponse)
	for _, p := range cr.Topics[0].Partitions {
		require.EqualValues(t, code, p.ErrorCode)
	}

	join := kmsg.NewPtrJoinGroupRequest()
	join.Group, join.ProtocolType, join.SessionTimeoutMillis = "g1", "consumer", 10000
	require.EqualValues(t, code, ask(join, kafkatest.Rule{Group: "g*"}).(*kmsg.JoinGroupResponse).ErrorCode)

	groups := kmsg.NewPtrDescribeGroupsRequest()
	groups.Groups = []string{"g1", "g2"}
	gr := ask(groups, kafkatest.Rule{Group: "g2"}).(*kmsg.DescribeGroupsResponse)
	require.Len(t, gr.Groups, 2)
	for _, g := range gr.Groups {
		require.Equal(t, g.Group == "g2", g.ErrorCode == code)
	}

	configs := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range []string{"a", "b"} {
		x := kmsg.NewDescribeConfigsRequestResource()
		x.ResourceType, x.ResourceName = kmsg.ConfigResourceTypeTopic, name
		configs.Resources = append(configs.Resources, x)
	}
	dr := ask(configs, kafkatest.Rule{Topic: "b"}).(*kmsg.DescribeConfigsResponse)
	require.Len(t, dr.Resources, 2)
	for _, x := range dr.Resources {
		require.Equal(t, x.ResourceName == "b", x.ErrorCode == code)
	}

	init := kmsg.NewPtrInitProducerIDRequest()
	init.TransactionalID, init.TransactionTimeoutMillis = kmsg.StringPtr("tx"), 60000
	require.EqualValues(t, code, ask(init, kafkatest.Rule{TransactionalID: "t?"}).(*kmsg.InitProducerIDResponse).ErrorCode)

	list := kmsg.NewPtrListOffsetsRequest()
	lt := kmsg.NewListOffsetsRequestTopic()
	lt.Topic = "a"
	for p := range int32(2) {
		lp := kmsg.NewListOffsetsRequestTopicPartition()
		lp.Partition, lp.Timestamp = p, -1
		lt.Partitions = append(lt.Partitions, lp)
	}
	list.Topics = append(list.Topics, lt)
	lr := ask(list, kafkatest.Rule{Topic: "a", Partitions: []int32{1}, Apply: true}).(*kmsg.ListOffsetsResponse)
	require.Len(t, lr.Topics[0].Partitions, 2)
	for _, p := range lr.Topics[0].Partitions {
		require.Equal(t, p.Partition == 1, p.ErrorCode == code)
		require.Equal(t, p.Partition == 1, p.Offset == -1)
	}
}

func TestRulesAreJSON(t *testing.T) {
	in := kafkatest.Rule{Name: "n", API: "Produce", Topic: "orders", Partitions: []int32{1}, Nth: 3, Delay: 1500 * time.Millisecond, Error: 6, Crash: kafkatest.TornWrite}
	text, err := json.Marshal(in)
	require.NoError(t, err)
	require.JSONEq(t, `{"name":"n","api":"Produce","topic":"orders","partitions":[1],"nth":3,"delay":"1.5s","error":"NOT_LEADER_OR_FOLLOWER","crash":"torn-write"}`, string(text))
	var out kafkatest.Rule
	require.NoError(t, json.Unmarshal(text, &out))
	require.Equal(t, in, out)
	for _, bad := range []string{`{"error":"NO_SUCH"}`, `{"crash":"boom"}`, `{"topics":"x"}`, `{"delay":"soon"}`, `[]`} {
		require.Error(t, json.Unmarshal([]byte(bad), &out), bad)
	}
	code, ok := kafkatest.ErrorCode("not_leader_for_partition")
	require.True(t, ok)
	require.EqualValues(t, 6, code)
}

func TestTheCallsOfAClientAreKept(t *testing.T) {
	c := kafkatest.New(t, kafkatest.Topic("orders", 1))
	c.Inject(kafkatest.Rule{Name: "once", API: "Produce", Error: kerr.NotLeaderForPartition.Code, Times: 1})
	produce(t, client(t, c, kgo.ClientID("me")), "orders", "hello")
	var produces []kafkatest.Call
	for _, call := range c.Calls() {
		req, err := call.Request()
		require.NoError(t, err)
		require.Equal(t, call.Key, req.Key())
		if call.API() == "Produce" {
			produces = append(produces, call)
		}
	}
	require.Len(t, produces, 2)
	require.Equal(t, "me", produces[0].ClientID)
	require.Equal(t, []string{"once"}, produces[0].Rules)
	for i, code := range []int16{6, 0} {
		resp, err := produces[i].Response()
		require.NoError(t, err)
		require.Equal(t, code, resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode)
	}
}

package kafka

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// quotaChange is one entity's change; an entity is pairs of type and name, where no name is the default.
func quotaChange(entity [][2]string, key string, value float64) kmsg.AlterClientQuotasRequestEntry {
	e := kmsg.NewAlterClientQuotasRequestEntry()
	for _, part := range entity {
		p := kmsg.NewAlterClientQuotasRequestEntryEntity()
		p.Type = part[0]
		if part[1] != "" {
			p.Name = kmsg.StringPtr(part[1])
		}
		e.Entity = append(e.Entity, p)
	}
	op := kmsg.NewAlterClientQuotasRequestEntryOp()
	op.Key, op.Value, op.Remove = key, value, value == 0
	e.Ops = append(e.Ops, op)
	return e
}

func alterQuotas(entries ...kmsg.AlterClientQuotasRequestEntry) *kmsg.AlterClientQuotasRequest {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	req.Entries = entries
	return req
}

func user(name string) [][2]string     { return [][2]string{{"user", name}} }
func clientID(name string) [][2]string { return [][2]string{{"client-id", name}} }

// limit sets a quota.
func (f *fortress) limit(entity [][2]string, key string, value float64) {
	results := make([]error, 1)
	require.NoError(f.t, f.server.guard.alterQuotas(&call{ctx: f.t.Context()}, alterQuotas(quotaChange(entity, key, value)), results))
	require.NoError(f.t, results[0])
}

func describeQuotas(strict bool, components ...any) *kmsg.DescribeClientQuotasRequest {
	req := kmsg.NewPtrDescribeClientQuotasRequest()
	req.Strict = strict
	for i := 0; i < len(components); i += 3 {
		c := kmsg.NewDescribeClientQuotasRequestComponent()
		c.EntityType, c.MatchType = components[i].(string), kmsg.QuotasMatchType(components[i+1].(int))
		if m := components[i+2]; m != nil {
			c.Match = kmsg.StringPtr(m.(string))
		}
		req.Components = append(req.Components, c)
	}
	return req
}

func TestQuotasAreAlteredAndDescribed(t *testing.T) {
	f := newFortress(t, Config{}, ListenerConfig{})
	p := f.dial()
	both := [][2]string{{"user", "u"}, {"client-id", ""}}
	for version := range int16(2) {
		resp := p.ask(version, alterQuotas(quotaChange(user("u"), "producer_byte_rate", 1000), quotaChange(both, "request_percentage", 12.5), quotaChange([][2]string{{"ip", "127.0.0.9"}}, "connection_creation_rate", 3))).(*kmsg.AlterClientQuotasResponse)
		require.Len(t, resp.Entries, 3)
		for _, e := range resp.Entries {
			require.Zero(t, e.ErrorCode)
			require.Nil(t, e.ErrorMessage)
		}
		require.Equal(t, "u", *resp.Entries[0].Entity[0].Name)
		require.Nil(t, resp.Entries[1].Entity[0].Name)

		shown := func(req *kmsg.DescribeClientQuotasRequest) (out []string) {
			resp := p.ask(version, req).(*kmsg.DescribeClientQuotasResponse)
			require.Zero(t, resp.ErrorCode)
			require.Empty(t, *resp.ErrorMessage)
			require.NotNil(t, resp.Entries, "clients break on null")
			for _, e := range resp.Entries {
				text := ""
				for _, part := range e.Entity {
					name := "<default>"
					if part.Name != nil {
						name = *part.Name
					}
					text += part.Type + "=" + name + " "
				}
				for _, v := range e.Values {
					text += fmt.Sprint(v.Key, "=", v.Value)
				}
				out = append(out, text)
			}
			return out
		}
		ip, all, one := "ip=127.0.0.9 connection_creation_rate=3", "client-id=<default> user=u request_percentage=12.5", "user=u producer_byte_rate=1000"
		require.Equal(t, []string{all, ip, one}, shown(describeQuotas(false)))
		require.Empty(t, shown(describeQuotas(true)), "strict and nothing asked for")
		require.Equal(t, []string{all, one}, shown(describeQuotas(false, "user", 0, "u")))
		require.Equal(t, []string{one}, shown(describeQuotas(true, "user", 0, "u")))
		require.Equal(t, []string{all}, shown(describeQuotas(true, "user", 2, nil, "client-id", 1, nil)))
		require.Equal(t, []string{ip}, shown(describeQuotas(false, "ip", 2, nil)))
		require.Empty(t, shown(describeQuotas(false, "user", 1, nil)))

		validate := alterQuotas(quotaChange(user("u"), "producer_byte_rate", 5))
		validate.ValidateOnly = true
		require.Zero(t, p.ask(version, validate).(*kmsg.AlterClientQuotasResponse).Entries[0].ErrorCode)
		require.Contains(t, shown(describeQuotas(false)), one)
		p.ask(version, alterQuotas(quotaChange(user("u"), "producer_byte_rate", 0), quotaChange(both, "request_percentage", 0), quotaChange([][2]string{{"ip", "127.0.0.9"}}, "connection_creation_rate", 0), quotaChange(user("never"), "producer_byte_rate", 0)))
		require.Empty(t, shown(describeQuotas(false)))
	}
}

func TestQuotasAreRefusedOneByOneAsKafkaDoes(t *testing.T) {
	f := newFortress(t, Config{}, ListenerConfig{})
	p := f.dial()
	duplicate := quotaChange(user("d"), "producer_byte_rate", 1)
	duplicate.Ops = append(duplicate.Ops, duplicate.Ops[0])
	half := quotaChange(user("h"), "producer_byte_rate", 1)
	half.Ops = append(half.Ops, quotaChange(nil, "nothing_rate", 1).Ops...)
	for text, e := range map[string]kmsg.AlterClientQuotasRequestEntry{
		"Invalid empty client quota entity":                             quotaChange(nil, "producer_byte_rate", 1),
		"Unhandled client quota entity type: group":                     quotaChange([][2]string{{"group", "g"}}, "producer_byte_rate", 1),
		"IP entity shouldnot be combined with User or ClientId":         quotaChange(append(user("a"), [2]string{"ip", "1.2.3.4"}), "producer_byte_rate", 1),
		"not-an-address is not a valid IP or resolvable host.":          quotaChange([][2]string{{"ip", "not-an-address"}}, "connection_creation_rate", 1),
		"Invalid configuration key connection_creation_rate":            quotaChange(user("a"), "connection_creation_rate", 1),
		"Invalid configuration key producer_byte_rate":                  quotaChange([][2]string{{"ip", "1.2.3.4"}}, "producer_byte_rate", 1),
		"Quota producer_byte_rate must be greater than 0":               quotaChange(user("a"), "producer_byte_rate", -1),
		"producer_byte_rate cannot be a fractional value.":              quotaChange(user("a"), "producer_byte_rate", 1.5),
		"too large for an INT":                                          quotaChange([][2]string{{"ip", ""}}, "connection_creation_rate", 1e12),
		"Ignoring duplicate entity ClientQuotaEntity(entries={user=d})": duplicate,
		"Invalid configuration key nothing_rate":                        half,
	} {
		resp := p.ask(1, alterQuotas(e)).(*kmsg.AlterClientQuotasResponse)
		require.Equal(t, codeInvalidRequest, resp.Entries[0].ErrorCode, text)
		require.Contains(t, *resp.Entries[0].ErrorMessage, text)
	}
	twice := p.ask(1, alterQuotas(quotaChange(user("t"), "producer_byte_rate", 1), quotaChange(user("t"), "producer_byte_rate", 2))).(*kmsg.AlterClientQuotasResponse)
	require.Len(t, twice.Entries, 1, "one answer for each entity")
	require.Contains(t, *twice.Entries[0].ErrorMessage, "Ignoring duplicate entity")
	last := p.ask(1, alterQuotas(quotaChange(append(user("a"), user("b")...), "producer_byte_rate", 1))).(*kmsg.AlterClientQuotasResponse)
	require.Zero(t, last.Entries[0].ErrorCode)
	require.Equal(t, "b", *last.Entries[0].Entity[0].Name, "of two names of one type the last counts")
	require.Len(t, last.Entries[0].Entity, 1)
	for text, req := range map[string]*kmsg.DescribeClientQuotasRequest{
		"Invalid empty entity type.":              describeQuotas(false, "", 0, "x"),
		"cannot appear more than once":            describeQuotas(false, "user", 0, "x", "user", 2, nil),
		"set match string to null":                describeQuotas(false, "user", 0, nil),
		"MATCH_TYPE_DEFAULT, but also specified":  describeQuotas(false, "user", 1, "x"),
		"MATCH_TYPE_SPECIFIED, but also specifie": describeQuotas(false, "user", 2, "x"),
		"Unknown match type 7":                    describeQuotas(false, "user", 7, nil),
		"Unsupported entity type group":           describeQuotas(false, "group", 0, "x"),
		"Invalid entity filter component combin":  describeQuotas(false, "user", 0, "x", "ip", 2, nil),
	} {
		resp := p.ask(1, req).(*kmsg.DescribeClientQuotasResponse)
		want := codeInvalidRequest
		if req.Components[0].EntityType == "group" {
			want = codeUnsupportedVersion
		}
		require.Equal(t, want, resp.ErrorCode, text)
		require.Contains(t, *resp.ErrorMessage, text)
		require.Nil(t, resp.Entries)
	}
}

// limited is a session of a user on a server whose clock stands still.
func limited(t testing.TB, properties map[string]string) (*fortress, *session, *clock.Manual) {
	manual := clock.NewManual(time.Unix(1_700_000_000, 0))
	f := newFortress(t, Config{Clock: manual, Properties: properties}, ListenerConfig{})
	s := f.server.brokers()[0].listeners[0].newSession(1, nil)
	s.become(Principal{"User", "u"})
	return f, s, manual
}

func TestBytesOverTheQuotaAreThrottledByKafkasFormula(t *testing.T) {
	f, s, manual := limited(t, nil)
	c := &call{clientID: "c"}
	s.throttleProduce(c, 1<<30)
	require.Zero(t, c.throttle, "no quota")
	f.limit(user("u"), "producer_byte_rate", 1000)
	s.throttleProduce(c, 10_000)
	require.Zero(t, c.throttle, "ten seconds' worth at once")
	s.throttleProduce(c, 5_000)
	require.Equal(t, 5*time.Second, c.throttle, "(1500 - 1000) / 1000 * 10 s")

	other := &call{clientID: "another of the same user"}
	s.throttleProduce(other, 1000)
	require.Equal(t, 6*time.Second, other.throttle, "they share it")
	s.become(Principal{"User", "v"})
	other = &call{}
	s.throttleProduce(other, 1<<30)
	require.Zero(t, other.throttle, "another user does not")

	s.become(Principal{"User", "u"})
	f.limit([][2]string{{"user", "u"}, {"client-id", "c"}}, "producer_byte_rate", 1e9)
	c = &call{clientID: "c"}
	s.throttleProduce(c, 10_000)
	require.Zero(t, c.throttle, "the more specific quota holds, at once")
	manual.Advance(12 * time.Second)
	c = &call{clientID: "d"}
	s.throttleProduce(c, 10_000)
	require.Zero(t, c.throttle, "what is older than the window is forgotten")
	f.limit(user("u"), "producer_byte_rate", 0)
	c = &call{clientID: "d"}
	s.throttleProduce(c, 1<<30)
	require.Zero(t, c.throttle, "taken away")
}

func TestAFetchOverTheQuotaIsNotCounted(t *testing.T) {
	f, s, _ := limited(t, nil)
	f.limit(clientID("c"), "consumer_byte_rate", 100)
	c := &call{clientID: "c"}
	require.Equal(t, 1000, s.fetchQuota(c, 1<<20))
	require.Equal(t, 10, s.fetchQuota(c, 10))
	require.False(t, s.throttleFetch(c, 1000))
	require.True(t, s.throttleFetch(c, 500))
	require.Equal(t, 5*time.Second, c.throttle)
	c.throttle = 0
	require.True(t, s.throttleFetch(c, 500))
	require.Equal(t, 5*time.Second, c.throttle, "as before: nothing was counted")
	require.False(t, s.throttleFetch(&call{clientID: "d"}, 1<<30))
	require.Equal(t, 1<<20, s.fetchQuota(&call{clientID: "d"}, 1<<20))
}

func TestTimeOfRequestsIsThrottledByASampleAtMost(t *testing.T) {
	f, s, manual := limited(t, nil)
	c := &call{clientID: "c"}
	s.clockIn()
	s.throttleRequest(c)
	require.Zero(t, s.sec.busy, "nobody reads the clock without a quota")
	f.limit(user(""), "request_percentage", 10)
	s.clockIn()
	manual.Advance(900 * time.Millisecond)
	s.throttleRequest(c)
	require.Zero(t, c.throttle, "9 percent of ten seconds")
	s.clockIn()
	manual.Advance(3 * time.Second)
	s.waited(2900 * time.Millisecond)
	s.throttleRequest(c)
	require.Zero(t, c.throttle, "waiting is no work")
	s.clockIn()
	manual.Advance(5 * time.Second)
	s.throttleRequest(c)
	require.Equal(t, time.Second, c.throttle)
}

func TestChangesOfTopicsOverTheQuotaAreRefusedOrSlowedDown(t *testing.T) {
	f, s, manual := limited(t, nil)
	c := &call{clientID: "c"}
	require.NoError(t, s.mutations(c, true).take(1<<20))
	f.limit(user("u"), "controller_mutation_rate", 10)
	m := s.mutations(c, true)
	require.NoError(t, m.take(110))
	require.NoError(t, m.take(20))
	err := m.take(1)
	require.ErrorIs(t, err, errThrottled)
	code, _ := answerOf(err)
	require.Equal(t, codeThrottlingQuotaExceeded, code)
	require.Equal(t, 2*time.Second, c.throttle)
	manual.Advance(2 * time.Second)
	require.NoError(t, m.take(1))
	c = &call{clientID: "c"}
	old := s.mutations(c, false)
	require.NoError(t, old.take(9))
	require.Equal(t, time.Second, c.throttle)
}

func TestConnectionsOfAnAddressOverItsRateAreClosedAfterAWhile(t *testing.T) {
	f, _, manual := limited(t, nil)
	set := f.server.brokers()[0].settings.Load()
	connect := func(ip string) (time.Duration, error) {
		return f.server.guard.connection(set, &net.TCPAddr{IP: net.ParseIP(ip), Port: 1})
	}
	wait, err := connect("10.0.0.1")
	require.NoError(t, err)
	require.Zero(t, wait)
	f.limit([][2]string{{"ip", ""}}, "connection_creation_rate", 1)
	f.limit([][2]string{{"ip", "::1"}}, "connection_creation_rate", 100)
	for range 10 {
		_, err := connect("10.0.0.1")
		require.NoError(t, err)
	}
	for range 2 {
		wait, err = connect("10.0.0.1")
		require.ErrorIs(t, err, wire.ErrTooManyConnections)
		require.Equal(t, time.Second, wait, "and is not counted")
	}
	_, err = connect("10.0.0.2")
	require.NoError(t, err)
	for range 100 {
		_, err = connect("::1")
		require.NoError(t, err)
	}
	manual.Advance(12 * time.Second)
	_, err = connect("10.0.0.1")
	require.NoError(t, err)
	require.Empty(t, f.closed)
}

// Names of clients are for anybody to invent: usage that says nothing any more is thrown out.
func TestUsageOfInventedClientsIsForgotten(t *testing.T) {
	f, s, manual := limited(t, nil)
	f.limit(clientID(""), "producer_byte_rate", 1000)
	for range 5 {
		for i := range 2000 {
			s.throttleProduce(&call{clientID: fmt.Sprint("invented-", i, "-", rand.Uint64())}, 10)
		}
		manual.Advance(time.Minute)
	}
	require.LessOrEqual(t, len(f.server.guard.usage.meters), 2*2000+firstSweep)
}

// Over the wire: the answer comes at once and tells the throttle, what was sent is written, and the next request is answered
// when the time is over.
func TestProducerOverItsQuotaHasItsAnswerAtOnceAndThenWaits(t *testing.T) {
	manual := clock.NewManual(time.Unix(1_700_000_000, 0))
	f := newFortress(t, Config{Clock: manual, Properties: map[string]string{"connections.max.idle.ms": "-1"}}, ListenerConfig{})
	cl, err := kgo.NewClient(kgo.SeedBrokers(f.addr), kgo.DefaultProduceTopic("t"), kgo.AllowAutoTopicCreation(), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.DisableIdempotentWrite())
	require.NoError(t, err)
	defer cl.Close()
	require.NoError(t, cl.ProduceSync(t.Context(), kgo.SliceRecord(make([]byte, 1000))).FirstErr())
	var raw []byte // the batch as franz-go makes it, fetched again
	p := f.dial()
	fetch := kmsg.NewPtrFetchRequest()
	fetch.MinBytes, fetch.MaxBytes = 1, 1<<20
	ft := kmsg.NewFetchRequestTopic()
	ft.Topic = "t"
	fp := kmsg.NewFetchRequestTopicPartition()
	fp.PartitionMaxBytes = 1 << 20
	ft.Partitions = append(ft.Partitions, fp)
	fetch.Topics = append(fetch.Topics, ft)
	raw = p.ask(11, fetch).(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches
	require.NotEmpty(t, raw)

	f.limit(clientID("peer"), "producer_byte_rate", 50)
	produce := kmsg.NewPtrProduceRequest()
	produce.Acks, produce.TimeoutMillis = -1, 1000
	pt := kmsg.NewProduceRequestTopic()
	pt.Topic = "t"
	pp := kmsg.NewProduceRequestTopicPartition()
	pp.Records = raw
	pt.Partitions = append(pt.Partitions, pp)
	produce.Topics = append(produce.Topics, pt)
	resp := p.ask(8, produce).(*kmsg.ProduceResponse)
	require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
	require.Greater(t, resp.ThrottleMillis, int32(5000), "at least 1000 bytes are 10 s too many, and more than 500 were free")
	hw, err := f.backend.ListOffsets(t.Context(), partition.TopicPartition{Topic: "t"}, -1)
	require.NoError(t, err)
	require.Equal(t, int64(2), int64(hw))

	p.send(12, topicRequest("t"))
	require.GreaterOrEqual(t, advanceUntil(manual, func() { p.token() }), time.Duration(resp.ThrottleMillis)*time.Millisecond, "the next request is read when the time is over")

	produce.Acks = 0
	p.send(8, produce)
	p.send(12, topicRequest("t"))
	require.GreaterOrEqual(t, advanceUntil(manual, func() { p.token() }), 10*time.Second, "also where there is no answer")

	f.limit(clientID("peer"), "producer_byte_rate", 0)
	f.limit(clientID("peer"), "consumer_byte_rate", 1)
	fetch.MaxBytes = 1 << 20
	got := p.ask(11, fetch).(*kmsg.FetchResponse)
	require.Positive(t, got.ThrottleMillis)
	require.Empty(t, got.Topics, "an answer over the quota is empty")
}

// advanceUntil lets time pass while f runs, and returns how much.
func advanceUntil(m *clock.Manual, f func()) (passed time.Duration) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	for {
		select {
		case <-done:
			return passed
		default:
			m.Advance(50 * time.Millisecond)
			passed += 50 * time.Millisecond
			runtime.Gosched()
		}
	}
}

package kafka

import (
	"cmp"
	"hash/crc32"
	"maps"
	"math"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/clock"
	"github.com/partlog/partlog/internal/compress"
	"github.com/partlog/partlog/partition"
)

// ClientMetrics is what a client has measured of itself and pushed (KIP-714). It is valid during the call it is handed to.
type ClientMetrics struct {
	Broker                    int32 // node id
	Conn                      ConnInfo
	Instance                  partition.TopicID // the client's instance id, which it keeps as long as it lives
	ClientID                  string
	Software, SoftwareVersion string // as the client says
	Terminating               bool   // the client is about to end, and pushes for the last time
	Metrics                   []byte // MetricsData of OpenTelemetry's protocol, version 1, in Protobuf; decompressed
}

// The keys of the APIs of telemetry. They are served where a host takes what clients push (Config.ClientMetrics), as a broker
// of Apache Kafka serves them where it has a receiver.
const (
	keyGetTelemetrySubscriptions int16 = 71
	keyPushTelemetry             int16 = 72
)

// maxTelemetryClients is how many clients are remembered, as in Kafka.
const maxTelemetryClients = 16384

// telemetry is what a Server knows of clients that push.
type telemetry struct {
	mu      sync.Mutex // guards clients and what they point to
	clients map[[16]byte]*telemetryClient
	rng     *rand.Rand
}

type telemetryClient struct {
	subscription int32
	interval     time.Duration
	asked        time.Duration // by the clock; 0: never
	pushed       time.Duration
	answered     bool // has pushed since it asked
	terminating  bool
}

// wantedMetrics is what all subscriptions that match a client ask of it together.
type wantedMetrics struct {
	metrics  []string // prefixes of names; one empty one means all
	interval time.Duration
}

// wantedOf returns what there is to ask of the session's client.
func (s *session) wantedOf(instance [16]byte) wantedMetrics {
	host, port, _ := net.SplitHostPort(s.remote)
	params := map[string]string{
		"client_instance_id": partition.TopicID(instance).String(), "client_id": s.call.clientID, "client_software_name": s.software,
		"client_software_version": s.softwareVersion, "client_source_address": host, "client_source_port": port,
	}
	w := wantedMetrics{metrics: []string{}, interval: math.MaxInt64}
	t, _ := s.server.admin.dynamic.get(s.server.store)
	for _, name := range slices.Sorted(maps.Keys(t[kindClientMetrics])) {
		sub := t[kindClientMetrics][name]
		if !matchesAll(splitList(sub["match"]), params) {
			continue
		}
		interval := 5 * time.Minute
		if n, err := strconv.ParseInt(strings.TrimSpace(sub["interval.ms"]), 10, 64); err == nil {
			interval = time.Duration(n) * time.Millisecond
		}
		w.interval = min(w.interval, interval)
		w.metrics = append(w.metrics, splitList(sub["metrics"])...)
	}
	if w.interval == math.MaxInt64 {
		w.interval = 5 * time.Minute
	}
	slices.Sort(w.metrics)
	if w.metrics = slices.Compact(w.metrics); slices.Contains(w.metrics, "*") {
		w.metrics = []string{""}
	}
	return w
}

func matchesAll(patterns []string, params map[string]string) bool {
	for _, p := range patterns {
		key, expr, _ := strings.Cut(p, "=")
		re, err := regexp.Compile("^(?:" + strings.TrimSpace(expr) + ")$")
		if err != nil || !re.MatchString(params[strings.TrimSpace(key)]) {
			return false
		}
	}
	return true
}

// id is the number of a subscription, which changes with what is asked.
func (w wantedMetrics) id(instance [16]byte) int32 {
	h := crc32.New(crc32.MakeTable(crc32.Castagnoli))
	h.Write(instance[:])
	h.Write([]byte(strings.Join(w.metrics, ",") + w.interval.String()))
	return int32(h.Sum32() >> 1)
}

// of returns the state of a client, made new if there is none. Who has been silent longest makes room.
func (t *telemetry) of(instance [16]byte) *telemetryClient {
	c := t.clients[instance]
	if c == nil {
		if t.clients == nil {
			t.clients = map[[16]byte]*telemetryClient{}
		}
		if len(t.clients) >= maxTelemetryClients {
			last := func(c *telemetryClient) time.Duration { return max(c.asked, c.pushed) }
			ids := slices.SortedFunc(maps.Keys(t.clients), func(a, b [16]byte) int { return cmp.Compare(last(t.clients[a]), last(t.clients[b])) })
			for _, id := range ids[:maxTelemetryClients/16] {
				delete(t.clients, id)
			}
		}
		c = &telemetryClient{}
		t.clients[instance] = c
	}
	return c
}

// newInstance draws an id for a client that has none.
func (t *telemetry) newInstance(seed uint64) (id [16]byte) {
	if t.rng == nil {
		t.rng = rand.New(rand.NewPCG(seed, 714))
	}
	for id[0] == 0 {
		for i := range id {
			id[i] = byte(t.rng.Uint32())
		}
	}
	return id
}

// handleGetTelemetrySubscriptions tells a client what to measure and how often to push it (KIP-714).
func handleGetTelemetrySubscriptions(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.GetTelemetrySubscriptionsRequest)
	resp := req.ResponseKind().(*kmsg.GetTelemetrySubscriptionsResponse)
	t := &s.server.admin.telemetry
	now := clock.Elapsed(s.server.clock) + 1
	t.mu.Lock()
	defer t.mu.Unlock()
	id := req.ClientInstanceID
	if id == [16]byte{} {
		id = t.newInstance(s.server.config.Seed)
	}
	wanted := s.wantedOf(id)
	state := t.of(id)
	number := wanted.id(id)
	if last := max(state.asked, state.pushed); last > 0 && state.subscription == number && now-last < state.interval {
		resp.ErrorCode = codeThrottlingQuotaExceeded
		return resp, nil
	}
	state.asked, state.answered, state.subscription, state.interval = now, false, number, wanted.interval
	resp.ClientInstanceID, resp.SubscriptionID = id, number
	resp.AcceptedCompressionTypes = []int8{int8(compress.Zstd), int8(compress.LZ4), int8(compress.Gzip), int8(compress.Snappy)}
	resp.PushIntervalMillis, resp.TelemetryMaxBytes = int32(wanted.interval.Milliseconds()), s.settings().telemetryMaxBytes
	resp.DeltaTemporality, resp.RequestedMetrics = true, wanted.metrics
	return resp, nil
}

// handlePushTelemetry hands what a client has measured to the host (KIP-714).
func handlePushTelemetry(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.PushTelemetryRequest)
	resp := req.ResponseKind().(*kmsg.PushTelemetryResponse)
	if resp.ErrorCode = s.admitPush(req); resp.ErrorCode != codeNone {
		return resp, nil
	}
	limit := int(s.settings().telemetryMaxBytes)
	if len(req.Metrics) > limit {
		resp.ErrorCode = codeTelemetryTooLarge
		return resp, nil
	}
	codec := compress.Codec(req.CompressionType)
	if codec < compress.None || codec > compress.Zstd {
		resp.ErrorCode = codeUnsupportedCompressionType
		return resp, nil
	}
	metrics, err := compress.Decompress(nil, req.Metrics, codec, 16*limit)
	if err != nil {
		resp.ErrorCode = codeInvalidRecord
		return resp, nil
	}
	if receive := s.server.config.ClientMetrics; receive != nil && len(metrics) > 0 {
		receive(ClientMetrics{
			Broker: s.broker.id, Conn: s.info(), Instance: partition.TopicID(req.ClientInstanceID), ClientID: c.clientID,
			Software: s.software, SoftwareVersion: s.softwareVersion, Terminating: req.Terminating, Metrics: metrics,
		})
	}
	return resp, nil
}

// admitPush decides whether a client may push now.
func (s *session) admitPush(req *kmsg.PushTelemetryRequest) int16 {
	if req.ClientInstanceID == [16]byte{} {
		return codeInvalidRequest
	}
	t := &s.server.admin.telemetry
	now := clock.Elapsed(s.server.clock) + 1
	t.mu.Lock()
	defer t.mu.Unlock()
	state := t.clients[req.ClientInstanceID]
	switch number := s.wantedOf(req.ClientInstanceID).id(req.ClientInstanceID); {
	case state == nil || state.subscription != number || req.SubscriptionID != number:
		return codeUnknownSubscriptionID
	case state.terminating:
		return codeInvalidRequest // it has pushed for the last time
	case !req.Terminating && state.answered && now-state.pushed < state.interval:
		return codeThrottlingQuotaExceeded
	}
	state.pushed, state.answered, state.terminating = now, true, req.Terminating
	return codeNone
}

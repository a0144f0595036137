package control

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/partlog/partlog/kafka/kafkatest"
)

// rig is a cluster and a handler for it, asked without a socket.
type rig struct {
	testing.TB
	cluster *kafkatest.Cluster
	handler *Handler
}

func newRig(t testing.TB, opts ...kafkatest.Option) *rig {
	c := kafkatest.New(t, opts...)
	h := New(c, func(s *kafkatest.Snapshot) (*kafkatest.Cluster, error) { return kafkatest.Start(kafkatest.From(s)) }, &Health{})
	t.Cleanup(func() { require.NoError(t, h.Close()) })
	return &rig{t, c, h}
}

// ask sends a request as a client of this machine does. method begins with the status that is expected, as "200 GET".
func (r *rig) ask(method, path, body string) map[string]any {
	r.Helper()
	b := r.raw(method, path, body)
	var out map[string]any
	require.NoError(r, json.Unmarshal(b, &out), "%s", b)
	return out
}

func (r *rig) raw(method, path, body string) []byte {
	r.Helper()
	want, method, _ := strings.Cut(method, " ")
	req := httptest.NewRequest(method, "http://127.0.0.1:9"+path, strings.NewReader(body))
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, req)
	require.Equal(r, want, itoa(w.Code), "%s %s: %s", method, path, w.Body)
	return w.Body.Bytes()
}

func itoa(n int) string { b, _ := json.Marshal(n); return string(b) }

func (r *rig) client(opts ...kgo.Opt) *kgo.Client {
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(r.cluster.Addrs()...), kgo.MetadataMinAge(10 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return time.Millisecond })}, opts...)...)
	require.NoError(r, err)
	r.Cleanup(c.Close)
	return c
}

func (r *rig) produce(topic, value string) {
	require.NoError(r, r.client().ProduceSync(r.Context(), &kgo.Record{Topic: topic, Value: []byte(value)}).FirstErr())
}

func TestARuleIsPutInForceCountedAwaitedAndRemoved(t *testing.T) {
	r := newRig(t, kafkatest.Topic("a", 1))
	rule := r.ask("200 POST", "/v1/rules", `{"api":"Produce","topic":"a","times":1,"error":"NOT_ENOUGH_REPLICAS"}`)
	require.Equal(t, map[string]any{"id": 1.0, "seen": 0.0, "hits": 0.0, "rule": map[string]any{"api": "Produce", "topic": "a", "times": 1.0, "error": "NOT_ENOUGH_REPLICAS"}}, rule)
	r.produce("a", "x") // kgo tries again
	require.Equal(t, 1.0, r.ask("200 GET", "/v1/rules/1/wait?hits=1&timeout=10m", "")["hits"])
	require.Equal(t, 2.0, r.ask("200 GET", "/v1/rules/1", "")["seen"])
	require.Contains(t, r.ask("408 GET", "/v1/rules/1/wait?hits=2&timeout=1ms", "")["error"], "1 of 2 hits")
	require.Contains(t, string(r.raw("200 GET", "/v1/rules", "")), `"id":1`)
	r.ask("200 DELETE", "/v1/rules/1", "")
	r.ask("404 GET", "/v1/rules/1", "")
	require.Contains(t, r.ask("400 POST", "/v1/rules", `{"api":"Nonsense"}`)["error"], "no API")
	require.Contains(t, r.ask("400 POST", "/v1/rules", `{"apy":"Produce"}`)["error"], "unknown field")
	require.Contains(t, r.ask("400 POST", "/v1/rules", `{"error":"NO_SUCH"}`)["error"], "NO_SUCH")
	r.ask("200 POST", "/v1/rules", `{"api":"Fetch"}`)
	r.ask("200 DELETE", "/v1/rules", "")
	require.Equal(t, "[]\n", string(r.raw("200 GET", "/v1/rules", "")))
}

func TestTimeIsAdvanced(t *testing.T) {
	r := newRig(t)
	before := r.ask("200 GET", "/v1/clock", "")["millis"].(float64)
	after := r.ask("200 POST", "/v1/clock/advance", `{"by":"2h"}`)["millis"].(float64)
	require.GreaterOrEqual(t, after-before, 7_200_000.0)
	later := r.ask("200 POST", "/v1/clock/advance", `{"by":1000}`)["millis"].(float64)
	require.GreaterOrEqual(t, later-after, 1000.0)
	for _, body := range []string{`{}`, `{"by":"-1s"}`, `{"by":"soon"}`, `{"by":true}`} {
		r.ask("400 POST", "/v1/clock/advance", body)
	}
}

func TestCrashesKeepWhatWasAcknowledged(t *testing.T) {
	r := newRig(t, kafkatest.FaultyDisk(), kafkatest.Topic("a", 1))
	r.produce("a", "kept")
	for i, kind := range []string{"", `{"kind":"kill"}`, `{"kind":"power-loss"}`} {
		require.Equal(t, float64(i+1), r.ask("200 POST", "/v1/crash", kind)["crashes"])
	}
	require.Contains(t, string(r.raw("200 GET", "/v1/topics/a/partitions/0/records", "")), `"value":"kept"`)
	r.ask("200 POST", "/v1/crash", `{"kind":"torn-write"}`)
	r.produce("a", "after") // half of it is written, then it is sent again
	require.Equal(t, 4.0, r.ask("200 GET", "/v1/crashes/wait?count=4&timeout=10m", "")["crashes"])
	r.ask("200 POST", "/v1/reopen", "")
	require.Contains(t, string(r.raw("200 GET", "/v1/topics/a/partitions/0/records", "")), `"value":"after"`)
	require.Contains(t, r.ask("400 POST", "/v1/crash", `{"kind":"boredom"}`)["error"], "boredom")
	r.ask("408 GET", "/v1/crashes/wait?count=99&timeout=1ms", "")
}

func TestTheDiskFailsOnCommand(t *testing.T) {
	r := newRig(t, kafkatest.Topic("a", 1))
	id := r.ask("200 POST", "/v1/disk/fill", `{}`)["id"]
	require.Equal(t, 1.0, id)
	err := r.client(kgo.RecordRetries(0)).ProduceSync(t.Context(), &kgo.Record{Topic: "a"}).FirstErr()
	require.Error(t, err)
	require.NotZero(t, r.ask("200 GET", "/v1/disk/rules/1", "")["hits"])
	r.ask("200 DELETE", "/v1/disk/rules/1", "")
	r.ask("404 DELETE", "/v1/disk/rules/1", "")
	r.ask("200 POST", "/v1/reopen", "")
	r.produce("a", "there is room")
	r.ask("200 POST", "/v1/disk/fail-sync", "")
	r.ask("200 POST", "/v1/disk/rules", `{"op":"read","path":"*.log","error":"EIO","nth":1000}`)
	require.Contains(t, string(r.raw("200 GET", "/v1/disk/rules", "")), `"op":"read"`)
	r.ask("200 DELETE", "/v1/disk/rules", "")
	require.Equal(t, "[]\n", string(r.raw("200 GET", "/v1/disk/rules", "")))
	require.Contains(t, r.ask("400 POST", "/v1/disk/rules", `{"op":"eat"}`)["error"], "create, open")
	require.Contains(t, r.ask("400 POST", "/v1/disk/rules", `{"error":"EBAD"}`)["error"], "ENOSPC")
}

func TestBrokersComeAndGoAndLeadersMove(t *testing.T) {
	r := newRig(t, kafkatest.Brokers(2), kafkatest.Topic("a", 1), kafkatest.Property("default.replication.factor", "2"))
	require.Equal(t, 3.0, r.ask("200 POST", "/v1/brokers", `{"rack":"r3"}`)["id"])
	r.ask("200 POST", "/v1/topics/a/partitions/0/leader", `{"broker":3}`)
	require.Equal(t, 3.0, r.ask("200 GET", "/v1/topics/a/partitions/0", "")["leader"])
	r.ask("200 POST", "/v1/topics/a/partitions/0/isr", `{"brokers":[3]}`)
	r.ask("200 POST", "/v1/brokers/3/restart", "")
	r.ask("200 POST", "/v1/brokers/3/stop", "")
	require.NotEqual(t, 3.0, r.ask("200 GET", "/v1/topics/a/partitions/0", "")["leader"])
	r.ask("200 POST", "/v1/brokers/3/start", "")
	r.ask("404 POST", "/v1/brokers/9/stop", "")
	r.ask("400 POST", "/v1/brokers/x/stop", "")
	r.ask("404 POST", "/v1/topics/a/partitions/0/leader", `{"broker":9}`)
	r.ask("404 POST", "/v1/topics/a/partitions/7/leader", `{"broker":1}`)
	r.ask("404 GET", "/v1/topics/none/partitions/0", "")
	r.ask("400 POST", "/v1/topics/a/partitions/0/leader", `{}`)
	require.Len(t, r.ask("200 GET", "/v1/cluster", "")["brokers"], 3)
}

func TestGroupsAreMovedRebalancedAndLoseMembers(t *testing.T) {
	r := newRig(t, kafkatest.Brokers(2), kafkatest.Topic("a", 2))
	member := r.client(kgo.ConsumerGroup("g"), kgo.ConsumeTopics("a"), kgo.InstanceID("i"), kgo.HeartbeatInterval(50*time.Millisecond), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	r.produce("a", "x")
	require.Equal(t, 1, member.PollFetches(t.Context()).NumRecords())
	joins := r.cluster.Inject(kafkatest.Rule{API: "JoinGroup"})
	r.ask("200 POST", "/v1/groups/g/rebalance?timeout=10m", "")
	require.NoError(t, joins.Wait(t.Context(), 1))
	for _, id := range []string{"1", "2"} {
		r.ask("200 POST", "/v1/groups/g/coordinator", `{"broker":`+id+`}`)
		r.ask("200 POST", "/v1/transactions/t/coordinator", `{"broker":`+id+`}`)
	}
	r.ask("200 DELETE", "/v1/groups/g/members/i", "")
	r.ask("404 POST", "/v1/groups/nobody/rebalance", "")
	r.ask("404 DELETE", "/v1/groups/nobody/members/i", "")
}

func TestTopicsAndRecordsAreReachedDirectly(t *testing.T) {
	r := newRig(t)
	require.Equal(t, map[string]any{"name": "a", "partitions": 2.0}, r.ask("200 POST", "/v1/topics", `{"name":"a","partitions":2,"configs":{"cleanup.policy":"compact"}}`))
	r.ask("409 POST", "/v1/topics", `{"name":"a"}`)
	require.Equal(t, 0.0, r.ask("200 POST", "/v1/topics/a/partitions/1/records", `[{"key":"k","value":"v","timestamp":5,"headers":[{"key":"h","value":null}]},{"key":"k","valueBase64":"/wA=","timestamp":6}]`)["baseOffset"])
	require.JSONEq(t, `[{"offset":0,"timestamp":5,"key":"k","value":"v","headers":[{"key":"h","value":null}]},{"offset":1,"timestamp":6,"key":"k","value":null,"valueBase64":"/wA="}]`,
		string(r.raw("200 GET", "/v1/topics/a/partitions/1/records", "")))
	require.JSONEq(t, `[{"offset":1,"timestamp":6,"key":"k","value":null,"valueBase64":"/wA="}]`, string(r.raw("200 GET", "/v1/topics/a/partitions/1/records?offset=1&max=5&committed=true", "")))
	require.Equal(t, 2.0, r.ask("200 GET", "/v1/topics/a/partitions/1", "")["highWatermark"])
	r.ask("400 POST", "/v1/topics/a/partitions/1/records", `[]`)
	r.ask("400 POST", "/v1/topics/a/partitions/1/records", `[{"valueBase64":"!"}]`)
	r.ask("400 GET", "/v1/topics/a/partitions/1/records?max=x", "")
	require.JSONEq(t, `[{"name":"a","partitions":2}]`, string(r.raw("200 GET", "/v1/topics", "")))
	r.ask("200 DELETE", "/v1/topics/a", "")
	r.ask("404 DELETE", "/v1/topics/a", "")
}

func TestTheRequestsOfAClientAreShown(t *testing.T) {
	r := newRig(t, kafkatest.Topic("a", 1))
	r.produce("a", "x")
	var calls []callView
	require.NoError(t, json.Unmarshal(r.raw("200 GET", "/v1/calls?api=Produce&clientId=kgo*", ""), &calls))
	require.Len(t, calls, 1)
	require.Equal(t, "Produce", calls[0].API)
	require.Contains(t, itoaAny(calls[0].Request), `"Acks":-1`)
	after := itoa(int(calls[0].Seq) - 1)
	calls = nil
	require.NoError(t, json.Unmarshal(r.raw("200 GET", "/v1/calls?bodies=false&after="+after, ""), &calls))
	require.Equal(t, "Produce", calls[0].API)
	require.Nil(t, calls[0].Request)
	r.ask("400 GET", "/v1/calls?clientId=[", "")
}

func itoaAny(v any) string { b, _ := json.Marshal(v); return string(b) }

func TestForksAreClustersOfTheirOwn(t *testing.T) {
	r := newRig(t, kafkatest.Topic("a", 1))
	r.produce("a", "before")
	snapshot := r.ask("200 POST", "/v1/snapshots", "")["id"].(float64)
	r.produce("a", "after")
	old := r.ask("200 POST", "/v1/forks", `{"snapshot":`+itoa(int(snapshot))+`}`)
	now := r.ask("200 POST", "/v1/forks", "")
	require.NotEqual(t, old["bootstrapServers"], now["bootstrapServers"])
	for fork, want := range map[string]int{old["control"].(string): 1, now["control"].(string): 2, "/v1": 2} {
		var records []record
		require.NoError(t, json.Unmarshal(r.raw("200 GET", fork+"/topics/a/partitions/0/records", ""), &records))
		require.Len(t, records, want, fork)
	}
	r.ask("200 POST", now["control"].(string)+"/topics/a/partitions/0/records", `[{"value":"only there"}]`)
	require.Equal(t, 2.0, r.ask("200 GET", "/v1/topics/a/partitions/0", "")["highWatermark"])
	require.Contains(t, string(r.raw("200 GET", "/v1/forks", "")), now["bootstrapServers"])
	r.ask("200 DELETE", now["control"].(string), "")
	r.ask("404 GET", now["control"].(string)+"/cluster", "")
	r.ask("404 POST", "/v1/forks", `{"snapshot":99}`)
	require.Contains(t, string(r.raw("200 GET", "/v1/snapshots", "")), itoa(int(snapshot)))
	r.ask("200 DELETE", "/v1/snapshots/"+itoa(int(snapshot)), "")
	r.ask("404 DELETE", "/v1/snapshots/"+itoa(int(snapshot)), "")
}

// A page in a browser, wherever it is from, reaches nothing: by its own name, by a name that leads here, by a form.
func TestPagesInABrowserAreRefused(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		host, header, value string
		want                int
	}{
		{"127.0.0.1:9", "", "", 200},
		{"localhost:9", "", "", 200},
		{"[::1]:9", "", "", 200},
		{"127.0.0.1", "", "", 200},
		{"127.0.0.1:9", "Origin", "http://127.0.0.1:9", 200},
		{"evil.example:9", "", "", 403},
		{"10.0.0.1:9", "", "", 403},
		{"127.0.0.1:9", "Origin", "http://evil.example", 403},
		{"127.0.0.1:9", "Origin", "http://127.0.0.1:8000", 403},
		{"127.0.0.1:9", "Origin", "null", 403},
		{"127.0.0.1:9", "Sec-Fetch-Site", "cross-site", 403},
		{"127.0.0.1:9", "Sec-Fetch-Site", "same-site", 403},
	} {
		req := httptest.NewRequest("GET", "http://"+c.host+"/v1/cluster", nil)
		if c.header != "" {
			req.Header.Set(c.header, c.value)
		}
		w := httptest.NewRecorder()
		r.handler.ServeHTTP(w, req)
		require.Equal(t, c.want, w.Code, "%+v", c)
	}
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data"} {
		req := httptest.NewRequest("POST", "http://127.0.0.1:9/v1/rules", strings.NewReader(`{"api":"Produce"}`))
		req.Header.Set("Content-Type", kind)
		w := httptest.NewRecorder()
		r.handler.ServeHTTP(w, req)
		require.Equal(t, 400, w.Code, kind)
	}
	require.Empty(t, r.cluster.Rules().All())
}

func TestWhatIsNotThereIsToldAsJSON(t *testing.T) {
	r := newRig(t)
	require.Contains(t, r.ask("404 GET", "/nothing", "")["error"], "docs/control.md")
	require.Contains(t, r.ask("404 PUT", "/v1/rules", "")["error"], "PUT /v1/rules")
	require.Contains(t, r.ask("400 POST", "/v1/rules", `{"api":"Produce"} x`)["error"], "follows")
	require.Contains(t, r.ask("400 POST", "/v1/rules", `{`)["error"], "body")
	require.Contains(t, r.ask("400 POST", "/v1/topics/a/partitions/99999999999/leader", `{"broker":1}`)["error"], "too large")
	r.handler.limit = 1 << 10
	big := httptest.NewRequest("POST", "http://127.0.0.1:9/v1/rules", io.MultiReader(strings.NewReader(`{"name":"`), bytes.NewReader(bytes.Repeat([]byte("x"), 1<<10))))
	w := httptest.NewRecorder()
	r.handler.ServeHTTP(w, big)
	require.Equal(t, 400, w.Code)
	require.Contains(t, w.Body.String(), "too large")
}

func TestHealthIsAliveBeforeItIsReady(t *testing.T) {
	var h Health
	ask := func(path string) int {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		return w.Code
	}
	require.Equal(t, 200, ask("/healthz"))
	require.Equal(t, 503, ask("/readyz"))
	h.Set(true)
	require.Equal(t, 200, ask("/readyz"))
	require.Equal(t, 404, ask("/"))
}

func TestATestWaitsForWhatItExpects(t *testing.T) {
	r := newRig(t)
	require.Equal(t, 3.0, r.ask("200 POST", "/v1/topics/a/records", `{"key":"k","value":"1"}
{"partition":1,"value":{"n":2}}
{"key":"k","value":"3"}`)["records"])
	require.Contains(t, string(r.raw("200 GET", "/v1/topics/a/records", "")), `"value":"{\"n\":2}"`)
	r.raw("200 GET", "/v1/topics/a/wait-records?count=3&timeout=10m", "")
	r.ask("408 GET", "/v1/topics/a/wait-records?count=4&timeout=1ms", "")
	r.ask("200 POST", "/v1/topics/a/check-delivered", `[{"key":"k","value":"1"},{"key":"k","value":"3"},{"key":null,"value":"{\"n\":2}"}]`)
	require.Contains(t, r.ask("409 POST", "/v1/topics/a/check-delivered", `[{"key":"k","value":"1"}]`)["error"], "not as expected")
	r.ask("400 POST", "/v1/topics/a/records", `nonsense`)
	r.ask("404 GET", "/v1/topics/none/records", "")

	member := r.client(kgo.ConsumerGroup("g"), kgo.ConsumeTopics("a"), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit())
	for n := 0; n < 3; {
		fs := member.PollFetches(t.Context())
		require.NoError(t, fs.Err())
		n += fs.NumRecords()
	}
	r.ask("200 GET", "/v1/groups/g/wait-stable?members=1&timeout=10m", "")
	r.ask("408 GET", "/v1/groups/g/wait-lag-zero?timeout=1ms", "")
	require.NoError(t, member.CommitUncommittedOffsets(t.Context()))
	r.ask("200 GET", "/v1/groups/g/wait-lag-zero?topics=a&timeout=10m", "")
	require.Contains(t, string(r.raw("200 GET", "/v1/groups/g/lag", "")), `"lag":0`)
	require.Contains(t, string(r.raw("200 GET", "/v1/groups/g/offsets", "")), `"topic":"a"`)
	require.Contains(t, string(r.raw("200 GET", "/v1/groups/g/history", "")), "generation")
	require.Contains(t, string(r.raw("200 GET", "/v1/transcript", "")), "OffsetCommit")
	require.Contains(t, string(r.raw("200 GET", "/v1/calls/wait?api=OffsetCommit&count=1&timeout=10m", "")), `"api":"OffsetCommit"`)
	r.ask("408 GET", "/v1/calls/wait?api=OffsetCommit&count=99&timeout=1ms", "")
	r.ask("400 GET", "/v1/calls/wait?api=Nonsense", "")
}

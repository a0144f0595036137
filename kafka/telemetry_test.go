package kafka

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/compress"
)

func TestTelemetryIsServedOnlyWhereSomebodyTakesIt(t *testing.T) {
	r := newRig(t, 1, Config{})
	_, err := try(t.Context(), r.session(1), 0, kmsg.NewPtrGetTelemetrySubscriptionsRequest())
	require.ErrorIs(t, err, ErrUnsupportedVersion)
	_, advertised := r.server.versions[keyPushTelemetry]
	require.False(t, advertised)
}

func TestClientsPushWhatTheirSubscriptionsAskFor(t *testing.T) {
	var got []ClientMetrics
	r := newRig(t, 1, Config{ClientMetrics: func(m ClientMetrics) {
		m.Metrics = append([]byte{}, m.Metrics...)
		got = append(got, m)
	}, Properties: map[string]string{"telemetry.max.bytes": "100"}})
	s := r.session(1)
	subscribe := func(id [16]byte) *kmsg.GetTelemetrySubscriptionsResponse {
		req := kmsg.NewPtrGetTelemetrySubscriptionsRequest()
		req.ClientInstanceID = id
		return put[*kmsg.GetTelemetrySubscriptionsResponse](r, s, 0, req)
	}
	first := subscribe([16]byte{})
	require.Zero(t, first.ErrorCode)
	require.NotZero(t, first.ClientInstanceID)
	require.Empty(t, first.RequestedMetrics, "nobody has subscribed: the client measures nothing")
	require.Equal(t, int32(300000), first.PushIntervalMillis)
	require.Equal(t, codeThrottlingQuotaExceeded, subscribe(first.ClientInstanceID).ErrorCode, "asked again too soon")

	code, text := r.alter(s, kindClientMetrics, "mine", "metrics=org.apache.kafka.producer.,org.apache.kafka.consumer.", "interval.ms=1000", "match=client_id=r.g")
	require.Zero(t, code, text)
	code, text = r.alter(s, kindClientMetrics, "others", "metrics=*", "interval.ms=100", "match=client_id=somebody else")
	require.Zero(t, code, text)
	second := subscribe(first.ClientInstanceID)
	require.Zero(t, second.ErrorCode, "what is asked has changed")
	require.Equal(t, first.ClientInstanceID, second.ClientInstanceID)
	require.NotEqual(t, first.SubscriptionID, second.SubscriptionID)
	require.Equal(t, []string{"org.apache.kafka.consumer.", "org.apache.kafka.producer."}, second.RequestedMetrics)
	require.Equal(t, []int32{1000, 100}, []int32{second.PushIntervalMillis, second.TelemetryMaxBytes})
	require.True(t, second.DeltaTemporality)

	push := func(change func(*kmsg.PushTelemetryRequest)) int16 {
		req := kmsg.NewPtrPushTelemetryRequest()
		req.ClientInstanceID, req.SubscriptionID, req.Metrics = second.ClientInstanceID, second.SubscriptionID, []byte("otlp")
		if change != nil {
			change(req)
		}
		return put[*kmsg.PushTelemetryResponse](r, s, 0, req).ErrorCode
	}
	require.Equal(t, codeInvalidRequest, push(func(q *kmsg.PushTelemetryRequest) { q.ClientInstanceID = [16]byte{} }))
	require.Equal(t, codeUnknownSubscriptionID, push(func(q *kmsg.PushTelemetryRequest) { q.SubscriptionID = first.SubscriptionID }))
	require.Equal(t, codeUnknownSubscriptionID, push(func(q *kmsg.PushTelemetryRequest) { q.ClientInstanceID = [16]byte{1} }))
	require.Empty(t, got)

	packed, err := compress.Compress(nil, []byte("otlp"), compress.Zstd, compress.DefaultLevel)
	require.NoError(t, err)
	require.Zero(t, push(func(q *kmsg.PushTelemetryRequest) { q.CompressionType, q.Metrics = int8(compress.Zstd), packed }))
	require.Len(t, got, 1)
	require.Equal(t, "otlp", string(got[0].Metrics))
	require.Equal(t, second.ClientInstanceID, [16]byte(got[0].Instance))
	require.Equal(t, "rig", got[0].ClientID)
	require.Equal(t, codeThrottlingQuotaExceeded, push(nil), "before the interval is over")
	r.clock.Advance(time.Second)
	require.Equal(t, codeTelemetryTooLarge, push(func(q *kmsg.PushTelemetryRequest) { q.Metrics = make([]byte, 101) }))
	r.clock.Advance(time.Second)
	require.Equal(t, codeUnsupportedCompressionType, push(func(q *kmsg.PushTelemetryRequest) { q.CompressionType = 9 }))
	r.clock.Advance(time.Second)
	require.Equal(t, codeInvalidRecord, push(func(q *kmsg.PushTelemetryRequest) { q.CompressionType = int8(compress.Gzip) }))
	require.Zero(t, push(func(q *kmsg.PushTelemetryRequest) { q.Terminating = true }), "the last push need not wait")
	require.True(t, got[1].Terminating)
	require.Equal(t, codeInvalidRequest, push(func(q *kmsg.PushTelemetryRequest) { q.Terminating = true }), "the last is the last")
}

func TestClientsThatWereSilentLongestAreForgottenFirst(t *testing.T) {
	var m telemetry
	for i := range maxTelemetryClients {
		m.of([16]byte{byte(i), byte(i >> 8), 1}).asked = time.Duration(i + 1)
	}
	m.of([16]byte{0, 0, 2})
	require.Len(t, m.clients, maxTelemetryClients-maxTelemetryClients/16+1)
	require.NotContains(t, m.clients, [16]byte{0, 0, 1})
	require.Contains(t, m.clients, [16]byte{255, byte((maxTelemetryClients - 1) >> 8), 1})
}

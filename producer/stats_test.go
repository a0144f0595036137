package producer_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

func TestStatsCountWhatHappened(t *testing.T) {
	c := soon
	p, s, _ := start(t, 2, c)
	s.before = func(n int, _ partition.AppendRequest) error {
		switch n {
		case 2:
			return partition.ErrTimeout
		case 4:
			return partition.ErrNoSpace
		}
		return nil
	}
	for range 4 {
		_, _ = p.Send(t.Context(), value("12345"))
	}
	_, _ = p.Send(t.Context(), producer.Record{Topic: "nowhere"})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, _ = p.Send(cancelled, value("x"))
	st := p.Stats()
	require.EqualValues(t, 3, st.Records)
	require.EqualValues(t, 3, st.Batches)
	require.EqualValues(t, 5, st.Appends)
	require.EqualValues(t, 1, st.Retries)
	require.EqualValues(t, 1, st.Failed)
	require.Equal(t, map[string]uint64{"REQUEST_TIMED_OUT": 1, "NO_SPACE": 1}, st.Errors)
	require.Equal(t, map[string]uint64{"UNKNOWN_TOPIC_OR_PARTITION": 1, "CANCELED": 1}, st.Refused)
	require.Equal(t, st.Counts, st.Topics["t"])
	require.EqualValues(t, 3, st.BatchBytes.Count)
	require.Equal(t, st.Bytes, st.BatchBytes.Sum)
	require.Equal(t, st.Bytes, st.Uncompressed)
	require.EqualValues(t, 1, st.BatchRecords.Max)
	require.EqualValues(t, 5, st.AppendLatency.Count)
	require.EqualValues(t, 3, st.SendLatency.Count)
	require.EqualValues(t, 4, st.QueueTime.Count)
	require.Equal(t, 32<<20, st.Buffer.Size)
	require.Zero(t, st.Buffer.Used)
}

func TestHistogramQuantilesBoundTheValues(t *testing.T) {
	h := producer.HistogramOf(1, 2, 3, 100, 1000)
	require.EqualValues(t, 5, h.Count)
	require.EqualValues(t, 221, h.Mean())
	require.EqualValues(t, 1000, h.Max)
	require.GreaterOrEqual(t, h.Quantile(0.5), uint64(3))
	require.Less(t, h.Quantile(0.5), uint64(6))
	require.EqualValues(t, 1000, h.Quantile(1))
	require.EqualValues(t, 1000, h.Quantile(0.99))
	var none producer.Histogram
	require.Zero(t, none.Quantile(0.5))
	require.Zero(t, none.Mean())
}

package kafka

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
)

// The hook sees every decoded request and its answer, and may do anything to both.
func TestInterceptor(t *testing.T) {
	broken := errors.New("cut")
	var hook Interceptor
	r := newRig(t, 1, Config{Intercept: func(c *Call, next func() Answer) Answer { return hook(c, next) }})
	topic := r.topic("orders", partition.TopicConfig{})
	good := func() *kmsg.ProduceRequest { return produceOf("orders", 0, 1, records(batch.Options{}, "a")) }
	mark := func() int64 {
		p, err := topic.Partition(0)
		require.NoError(t, err)
		o, err := p.HighWatermark()
		require.NoError(t, err)
		return int64(o)
	}

	t.Run("observes", func(t *testing.T) {
		var seen Call
		hook = func(c *Call, next func() Answer) Answer {
			seen = *c
			a := next()
			require.Equal(t, int64(0), a.Response.(*kmsg.ProduceResponse).Topics[0].Partitions[0].BaseOffset)
			return a
		}
		require.Zero(t, r.produced(r.session(1), 9, good()).ErrorCode)
		require.Equal(t, []any{int32(1), "PLAINTEXT", int16(0), int16(9), "rig", int32(7), "User:ANONYMOUS", "127.0.0.1:4711"},
			[]any{seen.Broker, seen.Listener, seen.Key, seen.Version, seen.ClientID, seen.Correlation, seen.Conn.Principal, seen.Conn.Remote})
	})
	t.Run("changes the answer after applying", func(t *testing.T) {
		hook = func(_ *Call, next func() Answer) Answer {
			a := next()
			a.Response.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode = codeNotEnoughReplicas
			return a
		}
		require.Equal(t, codeNotEnoughReplicas, r.produced(r.session(1), 9, good()).ErrorCode)
		require.Equal(t, int64(2), mark())
	})
	t.Run("answers instead", func(t *testing.T) {
		hook = func(c *Call, _ func() Answer) Answer {
			resp := c.Request.ResponseKind().(*kmsg.ProduceResponse)
			resp.ThrottleMillis = 5
			return Answer{Response: resp}
		}
		resp := put[*kmsg.ProduceResponse](r, r.session(1), 9, good())
		require.Equal(t, int32(5), resp.ThrottleMillis)
		require.Equal(t, int64(2), mark())
	})
	t.Run("loses the answer", func(t *testing.T) {
		hook = func(_ *Call, next func() Answer) Answer { next(); return Answer{Err: broken} }
		_, err := try(t.Context(), r.session(1), 9, good())
		require.ErrorIs(t, err, broken)
		require.Equal(t, int64(3), mark())
		hook = func(_ *Call, next func() Answer) Answer { next(); return Answer{} }
		_, err = try(t.Context(), r.session(1), 9, good())
		require.ErrorIs(t, err, errNoAnswer)
		hook = func(_ *Call, next func() Answer) Answer { next(); return Answer{Close: true} }
		_, err = try(t.Context(), r.session(1), 9, good())
		require.ErrorIs(t, err, errIntercepted)
	})
	frame := func(s *session) (*wire.Reply, error) {
		req := r.fetchOf(0, tpOf("orders", 0))
		req.SetVersion(12)
		return s.Frame(t.Context(), kmsg.NewRequestFormatter().AppendRequest(nil, req, 7)[4:])
	}
	t.Run("mangles the frame, delays it and closes", func(t *testing.T) {
		hook = func(_ *Call, next func() Answer) Answer {
			a := next()
			require.NotEmpty(t, a.Response.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches)
			a.Raw = func(b []byte) []byte { return b[:10] }
			a.Close, a.Delay = true, time.Second
			return a
		}
		reply, err := frame(r.session(1))
		require.NoError(t, err)
		require.Len(t, reply.Buf, 14)
		require.Empty(t, reply.Pieces)
		require.Equal(t, []any{true, time.Second}, []any{reply.CloseAfter, reply.Delay})
		reply.Release()
		require.Zero(t, r.store.Stats().Total.Leases)
	})
	t.Run("gives borrowed records back when it drops them", func(t *testing.T) {
		hook = func(_ *Call, next func() Answer) Answer { next(); return Answer{} }
		reply, err := frame(r.session(1))
		require.NoError(t, err)
		require.Nil(t, reply)
		require.Zero(t, r.store.Stats().Total.Leases)
	})
}

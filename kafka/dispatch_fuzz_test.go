package kafka

import (
	"context"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
)

// FuzzDispatch gives any body to any version of any API: nothing panics, and whatever is answered is what kmsg decodes.
func FuzzDispatch(f *testing.F) {
	prepareAPIs()
	for key, a := range apis {
		for v := a.oldest; v <= a.Max; v++ {
			req := kmsg.RequestForKey(key)
			req.SetVersion(v)
			f.Add(key, v, req.AppendTo(nil))
		}
	}
	for _, v := range []int16{3, 9, 12} {
		req := produceOf("orders", 0, -1, records(batch.Options{}, "value"))
		req.SetVersion(v)
		f.Add(keyProduce, v, req.AppendTo(nil))
	}
	f.Add(keyApiVersions, int16(77), []byte{1, 2, 3})
	store, err := partition.OpenMemory(partition.Config{})
	require.NoError(f, err)
	defer store.Close()
	server, err := New(store, Config{OldVersions: true, Properties: map[string]string{"group.initial.rebalance.delay.ms": "0"}})
	require.NoError(f, err)
	defer server.Close()
	b, err := server.AddBroker(BrokerConfig{Listeners: []ListenerConfig{{Listener: listen(f)}}})
	require.NoError(f, err)
	_, err = store.CreateTopic(f.Context(), "orders", partition.TopicConfig{Partitions: 2})
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond) // what would wait answers what it has
		defer cancel()
		s := b.listeners[0].newSession(1, nil)
		defer s.Close(nil)
		server.counters.connections.Add(1)
		frame := wire.AppendHeader(nil, wire.Header{Key: key, Version: version, Correlation: 5, ClientID: []byte("fuzz")}, flexible(key, version))
		reply, err := s.Frame(ctx, append(frame, body...))
		if err != nil {
			require.Nil(t, reply)
			if _, ok := errors.AsType[*RequestError](err); !ok {
				require.ErrorIs(t, err, wire.ErrHeader)
			}
			return
		}
		if reply == nil {
			return
		}
		whole := append([]byte(nil), reply.Buf[4:]...)
		for _, p := range reply.Pieces {
			whole = append(whole, p...)
		}
		if reply.Release != nil {
			reply.Release()
		}
		require.Equal(t, uint32(5), binary.BigEndian.Uint32(whole))
		resp := kmsg.ResponseForKey(key)
		if resp.SetVersion(version); key == keyApiVersions && version > apis[key].Max || version < 0 {
			resp.SetVersion(0)
		}
		whole = whole[4:]
		if resp.IsFlexible() && key != keyApiVersions {
			require.Zero(t, whole[0])
			whole = whole[1:]
		}
		require.NoError(t, resp.ReadFrom(whole))
		require.Equal(t, whole, resp.AppendTo(nil))
	})
}

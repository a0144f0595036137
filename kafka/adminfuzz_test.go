package kafka

import (
	"encoding/binary"
	"testing"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// adminKeys are the APIs of administration.
var adminKeys = []int16{19, 20, 32, 33, 35, 37, 38, 39, 40, 41, 43, 44, 45, 46, 55, 57, 71, 72, 74, 75}

// Whatever the body of a request of administration is, it is answered, or refused as malformed; a panic would close the
// connection with a bug.
func FuzzAdminRequests(f *testing.F) {
	for i, key := range adminKeys {
		req := kmsg.RequestForKey(key)
		for v := byte(0); v < 3; v++ {
			req.SetVersion(int16(v))
			f.Add(byte(i), v, req.AppendTo(nil))
		}
	}
	create := kmsg.NewPtrCreateTopicsRequest()
	create.SetVersion(7)
	create.Topics = append(create.Topics, wanted("t", 1, 1), wanted("t.t", -1, -1, []int32{1}))
	f.Add(byte(0), byte(7), create.AppendTo(nil))
	r := newRig(f, 2, Config{ClientMetrics: func(ClientMetrics) {}})
	s := r.session(1)
	f.Fuzz(func(t *testing.T, api, version byte, body []byte) {
		key := adminKeys[int(api)%len(adminKeys)]
		frame := binary.BigEndian.AppendUint16(nil, uint16(key))
		frame = binary.BigEndian.AppendUint16(frame, uint16(version%8))
		frame = append(frame, 0, 0, 0, 7, 0xff, 0xff)
		if a := apis[key]; int16(version%8) >= a.flexible {
			frame = append(frame, 0)
		}
		reply, err := s.Frame(t.Context(), append(frame, body...))
		if (reply == nil) == (err == nil) {
			t.Fatal("neither an answer nor an error, or both")
		}
	})
}

package tool

import (
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// changeVoters has the leader of the quorum add or remove a voter.
func changeVoters(ctx context.Context, conn *connection, s Streams, what string, id int, directory string) error {
	if id < 0 && what == "add-controller" {
		props, err := conn.properties()
		if err != nil {
			return err
		}
		if id, err = strconv.Atoi(props["node.id"]); err != nil {
			id = -1
		}
		maps.DeleteFunc(props, func(name, _ string) bool { return !ofClient(name) }) // it is the controller's own file
		conn = &connection{brokers: conn.brokers, props: props}
	}
	if id < 0 || id > 1<<31-1 {
		return Usagef("want --controller-id ID: which node?")
	}
	var key [16]byte // zeros: whatever its directory is
	if directory != "" {
		b, err := base64.RawURLEncoding.DecodeString(directory)
		if err != nil || len(b) != len(key) {
			return Usagef("--controller-directory-id %q is none; partlogd quorum describe shows them", directory)
		}
		copy(key[:], b)
	}
	client, err := conn.open()
	if err != nil {
		return err
	}
	defer client.Close()
	if err := reach(ctx, client); err != nil {
		return unless(ctx, err)
	}
	done := "added to"
	if what == "add-controller" {
		req := kmsg.NewPtrAddRaftVoterRequest()
		req.VoterID, req.VoterDirectoryID, req.TimeoutMillis = int32(id), key, 30000
		var resp *kmsg.AddRaftVoterResponse
		if resp, err = req.RequestWith(ctx, client); err == nil {
			err = failure(resp.ErrorCode, resp.ErrorMessage)
		}
	} else {
		done = "removed from"
		req := kmsg.NewPtrRemoveRaftVoterRequest()
		req.VoterID, req.VoterDirectoryID = int32(id), key
		var resp *kmsg.RemoveRaftVoterResponse
		if resp, err = req.RequestWith(ctx, client); err == nil {
			err = failure(resp.ErrorCode, resp.ErrorMessage)
		}
	}
	if err != nil {
		return unless(ctx, about(fmt.Sprintf("%s %d", what, id), err))
	}
	fmt.Fprintf(s.Out, "node %d is %s the voters\n", id, done)
	return nil
}

// ofClient reports whether a property of a server says how to connect to one.
func ofClient(name string) bool {
	return name == "bootstrap.servers" || name == "security.protocol" || strings.HasPrefix(name, "ssl.truststore.") || strings.HasPrefix(name, "ssl.keystore.") ||
		name == "ssl.key.password" || name == "sasl.mechanism" || name == "sasl.jaas.config"
}

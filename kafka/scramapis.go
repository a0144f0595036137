package kafka

import (
	"maps"
	"slices"

	"github.com/partlog/partlog/internal/wire"
	"github.com/partlog/partlog/partition"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func handleDescribeUserSCRAMCredentials(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.DescribeUserSCRAMCredentialsRequest)
	resp := req.ResponseKind().(*kmsg.DescribeUserSCRAMCredentialsResponse)
	if !s.authorizeCluster(opDescribe) {
		resp.ErrorCode, resp.ErrorMessage = codeClusterAuthorizationFailed, kmsg.StringPtr(textClusterDenied)
		return resp, nil
	}
	stored, err := s.server.guard.credentials.get(s.server.guard.store)
	if err != nil {
		resp.ErrorCode, resp.ErrorMessage = answerOf(err)
		return resp, nil
	}
	resp.ErrorMessage = new(string) // as Kafka: empty, not null; so in each result
	times := map[string]int{}       // of each user in the request
	var names []string
	for _, u := range req.Users {
		if times[u.Name]++; times[u.Name] == 1 {
			names = append(names, u.Name)
		}
	}
	if len(names) == 0 {
		all := map[string]bool{}
		for _, users := range *stored {
			for name := range users {
				all[name] = true
			}
		}
		names = slices.Sorted(maps.Keys(all))
	}
	for _, name := range names {
		r := kmsg.NewDescribeUserSCRAMCredentialsResponseResult()
		r.User = name
		if times[name] > 1 {
			r.ErrorCode, r.ErrorMessage = codeDuplicateResource, kmsg.StringPtr("Cannot describe SCRAM credentials for the same user twice in a single request: "+name)
			resp.Results = append(resp.Results, r)
			continue
		}
		for _, m := range []scramMechanism{scramSHA256, scramSHA512} {
			if credential, ok := (*stored)[m][name]; ok {
				info := kmsg.NewDescribeUserSCRAMCredentialsResponseResultCredentialInfo()
				info.Mechanism, info.Iterations = int8(m), int32(credential.Iterations)
				r.CredentialInfos = append(r.CredentialInfos, info)
			}
		}
		if r.ErrorMessage = new(string); len(r.CredentialInfos) == 0 {
			r.ErrorCode, r.ErrorMessage = codeResourceNotFound, kmsg.StringPtr("Attempt to describe a user credential that does not exist: "+name)
		}
		resp.Results = append(resp.Results, r)
	}
	return resp, nil
}

func handleAlterUserSCRAMCredentials(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.AlterUserSCRAMCredentialsRequest)
	resp := req.ResponseKind().(*kmsg.AlterUserSCRAMCredentialsResponse)
	var users []string // in the order of the request, each once
	seen := map[string]int{}
	mention := func(name string) {
		if seen[name]++; seen[name] == 1 {
			users = append(users, name)
		}
	}
	for _, d := range req.Deletions {
		mention(d.Name)
	}
	for _, u := range req.Upsertions {
		mention(u.Name)
	}
	results := map[string]error{}
	if !s.authorizeCluster(opAlter) {
		for _, name := range users {
			results[name] = &protocolError{codeClusterAuthorizationFailed, textClusterDenied}
		}
	} else if err := s.server.guard.alterCredentials(c, req, seen, results); err != nil {
		for _, name := range users {
			if results[name] == nil {
				results[name] = err
			}
		}
	}
	for _, name := range users {
		r := kmsg.NewAlterUserSCRAMCredentialsResponseResult()
		r.User = name
		if r.ErrorCode, r.ErrorMessage = answerOf(results[name]); results[name] == errNoPassword {
			r.ErrorMessage = nil
		}
		resp.Results = append(resp.Results, r)
	}
	return resp, nil
}

// errNoPassword is what Kafka makes of an empty salted password.
var errNoPassword error = &protocolError{codeUnknownServerError, "the salted password is empty"}

// alterCredentials makes those changes of a request that are valid, all or none. results gets what is wrong with the others,
// by user; a user that is mentioned twice is not changed at all.
func (g *guard) alterCredentials(c *call, req *kmsg.AlterUserSCRAMCredentialsRequest, times map[string]int, results map[string]error) error {
	g.alter.Lock()
	defer g.alter.Unlock()
	stored, err := g.credentials.get(g.store)
	if err != nil {
		return err
	}
	var changes []partition.Setting
	for _, d := range req.Deletions {
		m := scramMechanism(d.Mechanism)
		err := checkScramUser(d.Name, m)
		if _, there := (*stored)[m][d.Name]; err == nil && !there {
			err = &protocolError{codeResourceNotFound, "Attempt to delete a user credential that does not exist"}
		}
		if err := g.firstError(d.Name, err, times, results); err == nil {
			changes = append(changes, partition.Setting{Key: scramKey(m, d.Name)})
		}
	}
	for _, u := range req.Upsertions {
		m := scramMechanism(u.Mechanism)
		err := checkScramUser(u.Name, m)
		switch {
		case err != nil:
		case u.Iterations < wire.MinScramIterations:
			err = &protocolError{codeUnacceptableCredential, "Too few iterations"}
		case u.Iterations > wire.MaxScramIterations:
			err = &protocolError{codeUnacceptableCredential, "Too many iterations"}
		case len(u.SaltedPassword) == 0:
			err = errNoPassword
		}
		if err := g.firstError(u.Name, err, times, results); err != nil {
			continue
		}
		credential, err := wire.SaltedScramCredential(m.String(), u.SaltedPassword, u.Salt, int(u.Iterations))
		if err != nil {
			return err
		}
		changes = append(changes, partition.Setting{Key: scramKey(m, u.Name), Value: encodeCredential(credential)})
	}
	return g.put(c, changes)
}

// firstError notes what is wrong with the change of a user: what its first mention is, or that there are several.
func (*guard) firstError(name string, err error, times map[string]int, results map[string]error) error {
	if err == nil && times[name] > 1 {
		err = &protocolError{codeDuplicateResource, "A user credential cannot be altered twice in the same request"}
	}
	if results[name] == nil && err != nil {
		results[name] = err
	}
	return results[name]
}

func checkScramUser(name string, m scramMechanism) error {
	switch {
	case name == "":
		return &protocolError{codeUnacceptableCredential, "Username must not be empty"}
	case m != scramSHA256 && m != scramSHA512:
		return &protocolError{codeUnsupportedSASLMechanism, "Unknown SCRAM mechanism"}
	case len(name) > maxUserName:
		return &protocolError{codeUnacceptableCredential, "Username is too long"}
	}
	return nil
}

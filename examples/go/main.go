// Answers GET /REGION with the S3 prefixes of that region. Knows nothing of vsock, and of no proxy.
package main

import (
	"encoding/json"
	"log"
	"net/http"
	"time"
)

const ranges = "https://ip-ranges.amazonaws.com/ip-ranges.json"

// Without a proxy, whatever the environment says: it is the name that leads out.
var client = &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}

func main() {
	http.HandleFunc("/", func(writer http.ResponseWriter, request *http.Request) {
		response, err := client.Get(ranges)
		if err != nil {
			http.Error(writer, err.Error(), http.StatusBadGateway)
			return
		}
		defer response.Body.Close()
		var all struct {
			Prefixes []struct {
				Prefix  string `json:"ip_prefix"`
				Region  string
				Service string
			}
		}
		if err := json.NewDecoder(response.Body).Decode(&all); err != nil {
			http.Error(writer, err.Error(), http.StatusBadGateway)
			return
		}
		found := []string{}
		for _, each := range all.Prefixes {
			if each.Service == "S3" && each.Region == request.URL.Path[1:] {
				found = append(found, each.Prefix)
			}
		}
		writer.Header().Set("Content-Type", "application/json")
		json.NewEncoder(writer).Encode(found)
	})
	log.Fatal(http.ListenAndServe("127.0.0.1:3000", nil))
}

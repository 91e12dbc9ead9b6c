"""Where pictures come from: data: URLs, hosts an operator allows, a folder an operator names."""

# A launch template for parents of Nitro Enclaves, for Terraform and OpenTofu.
#
#   from an image that is ready (make ami):        image_id = "ami-…"
#   from Amazon Linux, provisioned at first boot:  image_id = "ami-…", user_data = "build/ami/user-data.mime"

terraform {
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.0"
    }
  }
}

variable "name" {
  type    = string
  default = "nitro-enclaves-parent"
}

variable "image_id" {
  type = string
}

variable "instance_type" {
  type        = string
  default     = "m6i.xlarge"
  description = "With 4 vCPUs or more, or 2 on Graviton."
}

variable "user_data" {
  type        = string
  default     = ""
  description = "A file that make ami-documents made. Empty: the image is ready."
}

resource "aws_launch_template" "parent" {
  name                   = var.name
  image_id               = var.image_id
  instance_type          = var.instance_type
  update_default_version = true
  user_data              = var.user_data == "" ? null : filebase64(var.user_data)

  enclave_options {
    enabled = true
  }

  # With an account's HttpTokensEnforced, an instance does not launch without it.
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }

  tag_specifications {
    resource_type = "instance"
    tags = {
      Name = var.name
    }
  }
}

output "launch_template_id" {
  value = aws_launch_template.parent.id
}

output "launch_template_version" {
  value = aws_launch_template.parent.latest_version
}
